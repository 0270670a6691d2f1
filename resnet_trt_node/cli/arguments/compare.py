"""What `resnet_trt compare` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import (
    add_json, add_node_options, add_output, add_picture_memory, add_topics, batch_sizes,
    GENERATED)
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.compare.accuracy import Tolerance
from resnet_trt_node.compare.choice import NAMES
from resnet_trt_node.compare.latency import Plan

EXAMPLES = (
    ('resnet_trt compare models/resnet50.onnx --backends onnxruntime,tvm',
     'two runtimes on generated pictures'),
    ('resnet_trt compare fp32.onnx int8.onnx --backends tensorrt --images drive',
     'two models on the images of a bag'),
    ('resnet_trt compare mine.onnx --backends onnxruntime --batch-size 1,8 -o out/',
     'two batch sizes, with a report, a plot and the figures as files'),
)
#: What is written into --output.
REPORT, PLOT, DOCUMENT = 'report.md', 'latency.png', 'compare.json'


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        'Exit code: 0 if all agree, 1 if answers differ beyond the tolerance, 2 if a model, '
        'backend or option cannot be used.')
    parser.absent.update({'--backend': f'write --backends NAME[,...], among {", ".join(NAMES)}'})
    parser.add_argument_group('model').add_argument(
        'models', metavar='MODEL', nargs='+', type=Path,
        help='deployable ONNX models of one network, such as its fp32 and int8')
    _add_runs(parser)
    _add_frames(parser)
    _add_latency(parser)
    group = parser.add_argument_group('what counts as the same answer')
    group.add_argument(
        '--atol', type=float, default=Tolerance.atol, metavar='P',
        help='a probability may differ by this much')
    group.add_argument(
        '--rtol', type=float, default=Tolerance.rtol, metavar='SHARE',
        help='or by this share of its value')
    group.add_argument(
        '--min-agreement', type=float, default=Tolerance.min_agreement, metavar='SHARE',
        help='share of the frames whose most probable class must be the same')
    add_output(parser, 'DIR', f'write {REPORT}, {PLOT} and {DOCUMENT} there')
    kept = parser.add_argument_group('output').add_mutually_exclusive_group()
    kept.add_argument(
        '--save', type=Path, metavar='FILE.npz',
        help='compare nothing, but write frames, answers and times there for --saved in another '
        'Python')
    kept.add_argument(
        '--saved', type=Path, action='append', default=[], metavar='FILE.npz',
        help='take what --save wrote beside the backends, again for more')
    add_json(parser, 'print the figures as JSON')


def _add_runs(parser: CommandParser) -> None:
    group = parser.add_argument_group('how the model is run')
    group.add_argument(
        '--backends', required=True, metavar='NAME[,...]',
        help=f'among {", ".join(NAMES)}; the first is what the others are compared with')
    group.add_argument(
        '--batch-size', type=batch_sizes, default=(1,), metavar='N[,N...]',
        help='rising, each measured by itself; not given: 1')
    add_node_options(
        group, 'device', 'threads', 'engine_dir', 'optimization_level', 'sparse_weights',
        'engine_host_code')
    group.add_argument(
        '--skip-unavailable', action='store_true',
        help='go on without backends that cannot be opened; the report names them')


def _add_frames(parser: CommandParser) -> None:
    group = parser.add_argument_group('input')
    group.add_argument(
        '--images', default=GENERATED, metavar='DIR|ZIP|BAG|NPZ',
        help='pictures, a bag, or the frames of a file that --save wrote; generated makes some up')
    group.add_argument(
        '--limit', type=int, default=64, metavar='N', help='frames whose answers are compared')
    group.add_argument(
        '--seed', type=int, default=0, metavar='N',
        help='of generated pictures and of the order in which backends are timed')
    add_topics(parser)
    add_picture_memory(parser)


def _add_latency(parser: CommandParser) -> None:
    group = parser.add_argument_group('how latency is measured')
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        '--seconds', type=float, default=Plan.seconds, metavar='S',
        help='timed seconds of each backend and batch size')
    length.add_argument(
        '--iterations', type=int, metavar='N', help='timed inferences instead')
    group.add_argument(
        '--rounds', type=int, default=Plan.rounds, metavar='N',
        help='turns among which they are divided')
    group.add_argument(
        '--warm-up', type=int, default=Plan.warm_up, metavar='N',
        help='inferences before anything is timed')
