"""What `resnet_trt fleet` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.regions import add_regions
from resnet_trt_node.cli.arguments.shared import (
    add_backend, add_json, add_model, add_node_options, add_output, add_picture_memory,
    add_topics)
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt fleet resnet50.onnx drives/ -o answers',
     'all bags in a folder, on this machine'),
    ('resnet_trt fleet resnet50.onnx drives/ -o answers --resume',
     'what a run that ended early did not do'),
    ('resnet_trt fleet resnet50.onnx @drives.txt -o answers '
     '--address auto', 'the bags of a list, on a cluster'),
    ('resnet_trt fleet resnet50.onnx "s3://bucket/*" -o answers '
     '--every-ms 1000', 'bags in a store, one frame a second'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        'Exit code: 0 if every bag was read, 1 if units or bags failed, which manifest.json '
        'lists, 2 if an option, the model or the cluster cannot be used.')
    parser.absent['--device'] = (
        'Ray gives each model actor a GPU of its own; CUDA_VISIBLE_DEVICES chooses among them')
    add_model(parser)
    group = parser.add_argument_group('input')
    group.add_argument(
        'bags', metavar='BAG', nargs='+',
        help='bags, folders of bags, patterns, addresses such as s3://bucket/drives, or @FILE '
        'for a list of these, one a line')
    add_topics(parser, '; default: all of each bag')
    group.add_argument(
        '--every-ms', type=float, default=0.0, metavar='MS',
        help='classify the first frame of each interval of log time, by topic; 0 for all')
    group.add_argument(
        '--unit-frames', type=int, default=500, metavar='N',
        help='frames of a unit of work; 0 makes each bag one unit')
    group.add_argument(
        '--cache-gib', type=float, default=50.0, metavar='GIB',
        help='maximum disk space for copies of bags from stores, in TMPDIR of each machine')
    add_picture_memory(parser)
    add_node_options(
        parser.add_argument_group('results'), 'top_k', 'score_threshold', 'unknown_below',
        'unknown_label', 'unknown_criterion')
    add_regions(parser)
    group = parser.add_argument_group('hardware')
    group.add_argument(
        '--address', default='local', metavar='ADDRESS',
        help='the Ray to use: local starts one on this machine, auto takes the one that runs on '
        'it, ray://HOST:10001 a cluster')
    # Ray gives each model actor its device.
    add_backend(parser, device=False)
    add_output(parser, 'DIR', 'write the answers and manifest.json to this folder', required=True)
    parser.add_argument_group('output').add_argument(
        '--resume', action='store_true',
        help='continue the run in this folder: do only what has no file yet')
    add_json(parser, 'print what became of the bags as JSON instead of a table')
