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
     'two batch sizes; writes a report, a plot and JSON'),
)
#: What is written into --output.
REPORT, PLOT, DOCUMENT = 'report.md', 'latency.png', 'compare.json'


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        'Exit code: 0 if all results agree, 1 if any differ by more than the tolerance, 2 if a '
        'model, backend or option cannot be used.')
    parser.absent.update({'--backend': f'write --backends NAME[,...], among {", ".join(NAMES)}'})
    parser.add_argument_group('model').add_argument(
        'models', metavar='MODEL', nargs='+', type=Path,
        help='deployable ONNX models of the same network, such as fp32 and int8 versions')
    _add_runs(parser)
    _add_frames(parser)
    _add_latency(parser)
    group = parser.add_argument_group('tolerance')
    group.add_argument(
        '--atol', type=float, default=Tolerance.atol, metavar='P',
        help='maximum absolute difference of a probability')
    group.add_argument(
        '--rtol', type=float, default=Tolerance.rtol, metavar='SHARE',
        help='maximum relative difference; meeting either limit is enough')
    group.add_argument(
        '--min-agreement', type=float, default=Tolerance.min_agreement, metavar='SHARE',
        help='minimum fraction of frames with the same top-1 class')
    add_output(parser, 'DIR', f'write {REPORT}, {PLOT} and {DOCUMENT} to this folder')
    kept = parser.add_argument_group('output').add_mutually_exclusive_group()
    kept.add_argument(
        '--save', type=Path, metavar='FILE.npz',
        help='instead of comparing, save frames, outputs and times for --saved in another Python '
        'environment')
    kept.add_argument(
        '--saved', type=Path, action='append', default=[], metavar='FILE.npz',
        help='add results that --save has written; repeatable')
    add_json(parser, 'print the figures as JSON')


def _add_runs(parser: CommandParser) -> None:
    group = parser.add_argument_group('inference')
    group.add_argument(
        '--backends', required=True, metavar='NAME[,...]',
        help=f'backends to compare: {", ".join(NAMES)}; the first one is the reference')
    group.add_argument(
        '--batch-size', type=batch_sizes, default=(1,), metavar='N[,N...]',
        help='batch sizes in ascending order, each measured separately; default: 1')
    add_node_options(
        group, 'device', 'threads', 'engine_dir', 'optimization_level', 'sparse_weights',
        'engine_host_code')
    group.add_argument(
        '--skip-unavailable', action='store_true',
        help='continue without backends that cannot be opened; the report lists them')


def _add_frames(parser: CommandParser) -> None:
    group = parser.add_argument_group('input')
    group.add_argument(
        '--images', default=GENERATED, metavar='DIR|ZIP|BAG|NPZ',
        help='pictures, a bag, or the frames in a file from --save; generated creates synthetic '
        'ones')
    group.add_argument(
        '--limit', type=int, default=64, metavar='N',
        help='number of frames whose outputs are compared')
    group.add_argument(
        '--seed', type=int, default=0, metavar='N',
        help='random seed for generated pictures and the order of measurements')
    add_topics(parser)
    add_picture_memory(parser)


def _add_latency(parser: CommandParser) -> None:
    group = parser.add_argument_group('latency measurement')
    length = group.add_mutually_exclusive_group()
    length.add_argument(
        '--seconds', type=float, default=Plan.seconds, metavar='S',
        help='measuring time in seconds per backend and batch size')
    length.add_argument(
        '--iterations', type=int, metavar='N',
        help='number of timed inferences, instead of --seconds')
    group.add_argument(
        '--rounds', type=int, default=Plan.rounds, metavar='N',
        help='number of interleaved rounds into which they are divided')
    group.add_argument(
        '--warm-up', type=int, default=Plan.warm_up, metavar='N',
        help='inferences before timing starts')
