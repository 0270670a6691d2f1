"""What `resnet_trt build` takes."""

from __future__ import annotations

from argparse import ArgumentTypeError

from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.cli.arguments.shared import (
    add_json, add_model, add_node_options, add_opt_batch_size)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.text.printable import printable

EXAMPLES = (
    ('resnet_trt build models/resnet50.onnx', 'the engine for a node with one camera'),
    ('resnet_trt build models/resnet50.onnx --batch-size 6',
     'for six cameras, or regions in batches of 6'),
    ('resnet_trt build models/resnet50.onnx --version-compatible',
     'an engine that newer TensorRT versions and tensorrt_lean can also run'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    kept = 'the engine is stored in --engine-dir, where the node finds it'
    in_graph = 'the model determines the precision, see `resnet_trt export --precision`'
    parser.absent.update({
        '-o': kept, '--output': kept, '--fp16': in_graph, '--int8': in_graph,
        '--backend': 'write --flavour NAME'})
    add_model(parser)
    group = parser.add_argument_group('engine')
    group.add_argument(
        '--flavour', choices=tuple(dict.fromkeys(map(versions.builds_for, versions.FLAVOURS))),
        default='tensorrt',
        help='TensorRT variant to compile for; the node must use the same one')
    group.add_argument(
        '--min-batch-size', type=int, default=1, metavar='N',
        help='smallest batch size; the node needs 1')
    add_opt_batch_size(group, '1 and the largest, as in the node')
    group.add_argument(
        '--batch-size', type=int, default=1, metavar='N',
        help='largest batch size: for the node, the smaller of its batch_size and cameras x '
        'queue_depth, which is 1 for one camera')
    add_node_options(
        group, 'precision', 'engine_dir', 'device', 'dla_core', 'optimization_level',
        'workspace_mib', 'tf32', 'sparse_weights', 'version_compatible')
    group.add_argument(
        '--target-sm', type=_capability, metavar='X.Y',
        help='compute capability to compile for, such as 8.9; only for tensorrt_rtx, and needs no '
        'GPU; default: that of the GPU in this machine')
    group.add_argument(
        '--force', action='store_true', help='build even if a matching engine exists')
    add_json(parser, 'print the result as JSON')


def _capability(text: str) -> str:
    """Parse '8.9' or '89', for the parser of an option."""
    digits = text.replace('.', '')
    if not digits.isdigit() or len(digits) < 2:
        raise ArgumentTypeError(
            f'{printable(repr(text))}: write a compute capability, such as 8.9')
    return f'{digits[:-1]}.{digits[-1]}'
