"""What `resnet_trt evaluate` takes."""

from __future__ import annotations

from resnet_trt_node.backends.factory import BACKEND_CHOICES
from resnet_trt_node.cli.arguments.shared import (
    add_backend, add_json, add_labelled_pictures, add_model, add_picture_memory, add_skip_bad)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.evaluation.reliability import BINS

EXAMPLES = (
    ('resnet_trt evaluate models/resnet50.onnx --images photos/',
     'pictures with labels.tsv among them, or in class folders'),
    ('resnet_trt evaluate fp32.onnx --images photos/ --compare int8.onnx',
     'two models of the same classes, and how far they agree'),
    ('resnet_trt evaluate mine.onnx --images photos/ --confusion out.png --json',
     'the figures as JSON, and the confusion matrix as a picture'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    written = 'write --confusion FILE, --reliability FILE, or --json > FILE'
    parser.absent.update({'-o': written, '--output': written})
    add_labelled_pictures(parser)
    add_skip_bad(parser)
    add_picture_memory(parser)
    add_model(parser)
    group = parser.add_argument_group('comparison with another model')
    group.add_argument(
        '--compare', metavar='MODEL',
        help='another model of the same classes to compare with, such as its int8 form')
    group.add_argument(
        '--compare-backend', choices=BACKEND_CHOICES, metavar='NAME',
        help='runtime of the other model, --backend if not given; without --compare the same '
        'model runs on it')
    add_backend(parser)
    group = parser.add_argument_group('output')
    group.add_argument(
        '--worst', type=int, default=10, metavar='N',
        help='show the N classes of the lowest F1; the JSON document has all')
    group.add_argument(
        '--bins', type=int, default=BINS, metavar='N',
        help='bins of equal width for the calibration error')
    group.add_argument(
        '--confusion', action='append', default=[], metavar='FILE',
        help='write the confusion matrix as .png, .svg, .pdf, .csv or .json; of many classes a '
        'picture shows the most confused ones; may be given several times')
    group.add_argument(
        '--reliability', metavar='FILE',
        help='draw accuracy over confidence as .png, .svg or .pdf')
    add_json(parser, 'print one JSON document instead of a table')
