"""What `resnet_trt evaluate` takes."""

from __future__ import annotations

from resnet_trt_node.backends.factory import BACKEND_CHOICES
from resnet_trt_node.cli.arguments.shared import (
    add_backend, add_json, add_labelled_pictures, add_model, add_picture_memory, add_skip_bad)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.evaluation.reliability import BINS

EXAMPLES = (
    ('resnet_trt evaluate models/resnet50.onnx --images photos/',
     'pictures with a labels.tsv, or in class folders'),
    ('resnet_trt evaluate tags.onnx --images photos/ --labels tags.csv',
     'a multi-label model; the table has file,class;class on each line'),
    ('resnet_trt evaluate fp32.onnx --images photos/ --compare int8.onnx',
     'two models with the same classes, and their agreement'),
    ('resnet_trt evaluate mine.onnx --images photos/ --confusion out.png --json',
     'print JSON, and plot the confusion matrix'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    written = 'write --confusion FILE, --reliability FILE, or --json > FILE'
    parser.absent.update({'-o': written, '--output': written})
    add_labelled_pictures(parser)
    add_skip_bad(parser)
    add_picture_memory(parser)
    add_model(parser)
    group = parser.add_argument_group('comparison')
    group.add_argument(
        '--compare', metavar='MODEL',
        help='another model with the same classes, such as an int8 version')
    group.add_argument(
        '--compare-backend', choices=BACKEND_CHOICES, metavar='NAME',
        help='runtime of the other model; default: that of --backend; without --compare, the same '
        'model is compared on this runtime')
    add_backend(parser)
    group = parser.add_argument_group('output')
    group.add_argument(
        '--worst', type=int, default=10, metavar='N',
        help='show the N classes with the lowest F1; JSON has all classes')
    group.add_argument(
        '--score-threshold', type=float, metavar='SCORE',
        help='multi-label models: score from which on a class counts as found; default: 0.5')
    group.add_argument(
        '--bins', type=int, default=BINS, metavar='N',
        help='number of equal-width bins for the calibration error')
    group.add_argument(
        '--confusion', action='append', default=[], metavar='FILE',
        help='write the confusion matrix as .png, .svg, .pdf, .csv or .json; a plot of many '
        'classes shows the most confused ones; repeatable')
    group.add_argument(
        '--reliability', metavar='FILE',
        help='plot accuracy over confidence as .png, .svg or .pdf')
    add_json(parser, 'print one JSON document instead of a table')
