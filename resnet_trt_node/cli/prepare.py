"""`resnet_trt prepare`: makes any float image classifier in ONNX deployable."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Union

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import print_json, write
from resnet_trt_node.contract.spec import INTERPOLATIONS
from resnet_trt_node.onnx_tools.prepare import ACTIVATIONS, CHANNEL_ORDERS, prepare, STRETCH
from resnet_trt_node.onnx_tools.source_model import LAYOUTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument('model', type=Path, metavar='IN.onnx', help='a float classifier')
    parser.add_argument(
        '-o', '--output-file', type=Path, required=True, metavar='OUT.onnx', help='file to write')
    parser.add_argument(
        '--mean', type=float, nargs='+', required=True, metavar='M',
        help="one number for all channels or three in the model's channel order; the model "
        'receives (pixel / scale - mean) / std')
    parser.add_argument(
        '--std', type=float, nargs='+', required=True, metavar='S', help='likewise')
    parser.add_argument(
        '--scale', type=float, choices=(255.0, 1.0),
        help='divisor of the pixels 0..255; not given: 1 if any mean or std is above 1, which is '
        'possible only for pixels 0..255, otherwise 255')
    parser.add_argument(
        '--resize', type=_resize, metavar='PIXELS',
        help=f'short side before the centre crop, or {STRETCH} to stretch pictures to the crop; '
        'not given: 256/224 of the crop')
    parser.add_argument(
        '--crop', type=int, metavar='PIXELS',
        help="sides of the crop; not given: those of the model's input, 224 if they are dynamic")
    parser.add_argument(
        '--interpolation', default='bilinear', choices=INTERPOLATIONS, help='of the resize')
    parser.add_argument(
        '--labels', type=Path, metavar='FILE',
        help='class names, one a line in the order of the output, or numbered from 0 in a text, '
        'CSV, JSON or YAML file; their index is added to duplicate names; not given: the '
        'ImageNet names for 1000 classes, class_0, class_1, ... for any other number')
    parser.add_argument(
        '--layout', default='auto', choices=LAYOUTS,
        help="of the model's input; auto finds the dimension of 3")
    parser.add_argument(
        '--channel-order', default='rgb', choices=CHANNEL_ORDERS, help="of the model's input")
    parser.add_argument(
        '--activation', default='auto', choices=ACTIVATIONS,
        help='softmax: the output is logits; none: it is probabilities; auto: runs the model and '
        'checks whether its rows sum to 1')
    parser.add_argument(
        '--output', metavar='NAME', help='which output to use, if there are several')
    parser.add_argument('--json', action='store_true', help='print the report as JSON')


def run(arguments: argparse.Namespace) -> int:
    """Prepare the model and print how it was interpreted."""
    check_place(arguments.output_file, arguments.model)
    report = prepare(
        arguments.model, arguments.output_file, mean=arguments.mean, std=arguments.std,
        scale=arguments.scale, resize=arguments.resize, crop=arguments.crop,
        interpolation=arguments.interpolation, labels=arguments.labels, layout=arguments.layout,
        channel_order=arguments.channel_order, activation=arguments.activation,
        output=arguments.output)
    if arguments.json:
        print_json('prepare', report.to_dict())
        return 0
    spec = report.spec
    softmax = 'logits, softmax added' if report.activation == 'softmax' else 'probabilities'
    batch = f'fixed at {report.fixed_batch}, made dynamic' if report.fixed_batch else 'dynamic'
    write(f'{report.path}: {spec.precision}, {report.size_bytes / 1e6:.1f} MB, '
          f'{report.seconds:.1f} s')
    write('interpreted the original as')
    write(f'  input    {report.layout.upper()}, {report.normalisation}, batch {batch}')
    if report.unused_inputs:
        write(f'  removed  {", ".join(report.unused_inputs)}, which no node reads')
    write(f'  output   {softmax}, {spec.num_classes} classes, {spec.labels[0]} to '
          f'{spec.labels[-1]}')
    write(f'  resize   {spec.resize.describe()}')
    write(f'  checked  probabilities within {report.max_abs_difference:.2g} of the original, '
          f'bound {report.bound:g}')
    return 0


def _resize(text: str) -> Union[int, str]:
    if text == STRETCH:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r}: give a number of pixels or {STRETCH}') from None
