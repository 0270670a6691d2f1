"""What `resnet_trt quantize` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import (
    add_json, add_output, add_picture_memory, add_topics, IMAGES_SURPLUS, onnx_file)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.onnx_tools.choices import METHODS, MIN_FRAMES

EXAMPLES = (
    ('resnet_trt quantize models/resnet50.onnx --images photos/ -o models/int8.onnx',
     'calibrate on pictures like those in the application'),
    ('resnet_trt quantize a.onnx --images drive -o int8.onnx --sensitivity out.json',
     'calibrate on a bag, and measure the sensitivity of each layer'),
    ('resnet_trt quantize fp32.onnx --images drive -o int8.onnx --keep-worst 3',
     'keep the three most sensitive layers in float'),
)
#: Of --percentile, where it is not given.
PERCENTILE = 99.99


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.surplus = IMAGES_SURPLUS
    parser.add_argument_group('model').add_argument(
        'model', type=Path, metavar='MODEL.onnx', help='deployable fp32 model')
    group = parser.add_argument_group('input')
    group.add_argument(
        '--images', required=True, metavar='DIR|ZIP|BAG',
        help='pictures like those in the application: a folder, a zip file, a folder inside a zip '
        'file (pictures.zip/train), a bag, or a video')
    add_topics(parser)
    group.add_argument(
        '--limit', type=int, default=512, metavar='N',
        help='maximum number of pictures, evenly spaced; a fifth is held out for the comparison')
    group.add_argument(
        '--min-pictures', type=int, default=MIN_FRAMES, metavar='N',
        help='minimum number of pictures')
    add_picture_memory(parser)
    group = parser.add_argument_group('quantisation')
    group.add_argument(
        '--method', choices=METHODS, default='percentile',
        help='how the range of activations is chosen')
    group.add_argument(
        '--percentile', type=float, metavar='P',
        help='percentage of values that --method percentile covers; default: '
        f'{PERCENTILE}')
    group.add_argument(
        '--keep-float', action='append', default=[], metavar='LAYER',
        help='keep this layer in float; repeatable')
    group.add_argument(
        '--keep-worst', type=int, default=0, metavar='N',
        help='keep the N most sensitive layers in float')
    add_output(parser, 'OUT.onnx', 'file to write', kind=onnx_file, required=True)
    parser.add_argument_group('output').add_argument(
        '--sensitivity', type=Path, metavar='OUT.json',
        help='measure the effect of quantising each layer alone, and write it to this file')
    add_json(parser)
