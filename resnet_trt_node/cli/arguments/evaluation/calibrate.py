"""What `resnet_trt calibrate` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import (
    add_backend, add_json, add_labelled_pictures, add_model, add_output, add_picture_memory,
    add_skip_bad, LABELLED_HELP, onnx_file)
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt calibrate mine.onnx --images mine.zip/val -o calibrated.onnx',
     'with class folders in a zip file'),
    ('resnet_trt calibrate mine.onnx --images photos/ --labels p.tsv -o out.onnx',
     'with a table of the classes'),
)
#: Half of them are held out; of fewer, the calibration error is mostly chance.
MIN_PICTURES = 100


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    add_labelled_pictures(
        parser, f'at least {MIN_PICTURES} {LABELLED_HELP}; not those the model was trained on')
    add_skip_bad(parser)
    add_picture_memory(parser)
    add_model(parser)
    add_backend(parser)
    add_output(parser, 'OUT.onnx', 'file to write', kind=onnx_file, required=True)
    add_json(parser, 'print one JSON document instead of a table')
