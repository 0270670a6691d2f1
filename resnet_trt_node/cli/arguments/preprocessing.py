"""Options of how pictures become the input of a network that is made deployable."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any, Union

from resnet_trt_node.onnx_tools.choices import STRETCH
from resnet_trt_node.text.printable import printable


def add_normalisation(group: Any, otherwise: str) -> None:
    """
    Add --mean, --std and --scale.

    :param group: of a parser.
    :param otherwise: what the help says of what is taken without them.
    """
    group.add_argument(
        '--mean', type=float, nargs='+', metavar='M',
        help="one number for all channels, or three in the model's channel order; the network's "
        f'input is (pixel / scale - mean) / std{otherwise}')
    group.add_argument(
        '--std', type=float, nargs='+', metavar='S', help='like --mean')
    group.add_argument(
        '--scale', type=float, choices=(255.0, 1.0),
        help='divisor for the pixel values 0..255; default: 1 if any mean or std is above 1, '
        'which implies pixels from 0 to 255, otherwise 255')


def resize_rule(text: str) -> Union[int, str]:
    """Parse --resize: a number of pixels, or to stretch, for the parser of an option."""
    if text == STRETCH:
        return text
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(
            f'{printable(repr(text))}: give a number of pixels or {STRETCH}') from None
