"""What `resnet_trt classify` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.regions import add_regions
from resnet_trt_node.cli.arguments.shared import (
    add_backend, add_json, add_model, add_node_options, add_output, add_picture_memory,
    add_skip_bad, add_topics)
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt classify models/resnet50.onnx photos/cat.jpg', 'one picture'),
    ('resnet_trt classify models/resnet50.onnx photos/ --annotate annotated/',
     'a folder; also draws the classes on each picture'),
    ('resnet_trt classify models/resnet50.onnx drive -o drive_classified',
     'a bag; writes another bag with images and classifications'),
    ('resnet_trt classify models/resnet50.onnx drive.mp4 --json', 'a video'),
    ('resnet_trt classify models/resnet50.onnx drive --regions /camera/detections',
     'the boxes of a detector in the images of a bag'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    named = 'give pictures, folders, videos and bags after MODEL, without an option'
    in_model = 'class names are in the model: use --labels with `resnet_trt export` or `prepare`'
    parser.absent.update({
        '--images': named, '--input': named, '--image': named, '--labels': in_model})
    add_model(parser)
    parser.add_argument_group('input').add_argument(
        'inputs', metavar='INPUT', nargs='+',
        help='one or more pictures, folders or zip files of pictures, videos, addresses of live '
        'streams (rtsp://...), or bags')
    add_topics(parser, '; default: all')
    add_skip_bad(parser)
    add_picture_memory(parser)
    add_node_options(
        parser.add_argument_group('results'), 'top_k', 'score_threshold',
        'unknown_below', 'unknown_label', 'unknown_criterion', 'class_id_format')
    add_regions(parser)
    add_backend(parser)
    add_output(
        parser, 'BAG', 'write a bag with the images and vision_msgs/Classification messages or, '
        'with --regions, images, detections and classified detections', kind=str)
    parser.add_argument_group('output').add_argument(
        '--annotate', metavar='DIR',
        help='write each picture with its classes drawn on it to this folder')
    add_json(parser, 'print one JSON document instead of a table')
