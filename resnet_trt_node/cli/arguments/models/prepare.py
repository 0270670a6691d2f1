"""What `resnet_trt prepare` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.preprocessing import add_normalisation, resize_rule
from resnet_trt_node.cli.arguments.shared import (
    add_class_names, add_json, add_output, onnx_file)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.contract.spec import INTERPOLATIONS
from resnet_trt_node.onnx_tools.choices import ACTIVATIONS, CHANNEL_ORDERS, LAYOUTS, STRETCH

EXAMPLES = (
    ('resnet_trt prepare theirs.onnx -o models/mine.onnx --mean 127 --std 128',
     'pixels from 0 to 255, the same mean and std for all channels'),
    ('resnet_trt prepare in.onnx -o out.onnx --mean .48 .46 .41 --std .23 .22 .23',
     'pixels from 0 to 1, a mean and std for each channel'),
    ('resnet_trt prepare in.onnx -o out.onnx --mean .5 --std .5 --labels names.txt',
     'with class names, one per line'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    group = parser.add_argument_group('model')
    group.add_argument(
        'model', type=Path, metavar='IN.onnx', help='a classifier of floats or uint8 pixels')
    add_class_names(
        parser, 'duplicate names get their index appended; default: names in the metadata of '
        'IN.onnx, otherwise the ImageNet names for 1000 classes, or class_0, class_1, ...; of a '
        'binary model both classes, the negative one first, or the positive one alone')
    group.add_argument(
        '--layout', default='auto', choices=LAYOUTS,
        help="layout of the model's input; auto looks for the dimension of size 3, "
        'or 1 of a grey network')
    group.add_argument(
        '--channel-order', default='rgb', choices=CHANNEL_ORDERS,
        help="channel order of the model's input")
    group.add_argument(
        '--activation', default='auto', choices=ACTIVATIONS,
        help='softmax: the model outputs logits; sigmoid: it is binary, with one output, or '
        'multi-label, and a sigmoid is added unless it ends in one; none: it '
        'outputs probabilities; auto: run the model and check whether the rows sum to 1, or '
        'whether it ends in a sigmoid')
    group.add_argument(
        '--output-name', metavar='NAME', help='output to use if the model has several')
    _add_normalisation(parser)
    add_output(
        parser, 'OUT.onnx', 'file to write', kind=onnx_file, required=True,
        elsewhere='--output-name selects an output of the model')
    add_json(parser)


def _add_normalisation(parser: CommandParser) -> None:
    group = parser.add_argument_group('normalisation and resizing')
    add_normalisation(group, '; required unless the model takes uint8 pixels')
    group.add_argument(
        '--resize', type=resize_rule, metavar='PIXELS',
        help=f'short side before the centre crop, or {STRETCH} to stretch pictures to the crop '
        'size; default: 256/224 of the crop')
    group.add_argument(
        '--crop', type=int, metavar='PIXELS',
        help="side length of the crop; default: that of the model's input, 224 if dynamic")
    group.add_argument(
        '--interpolation', default='bilinear', choices=INTERPOLATIONS,
        help='interpolation for resizing')
