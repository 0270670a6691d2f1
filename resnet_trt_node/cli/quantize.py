"""`resnet_trt quantize`: make a deployable fp32 model int8, calibrated on pictures or a bag."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from difflib import get_close_matches
import json
from pathlib import Path
import sys
from typing import TYPE_CHECKING

import numpy as np
from resnet_trt_node.cli.console import count_of, print_json, Progress, table_row
from resnet_trt_node.cli.example_frames import read_frames
from resnet_trt_node.errors import DataError, UsageError
from resnet_trt_node.inference.backend import BackendOptions
from resnet_trt_node.inference.factory import open_backend
from resnet_trt_node.inference.spec import ModelSpec
from resnet_trt_node.model.calibration import METHODS
from resnet_trt_node.model.calibration_frames import check_frames, MIN_FRAMES
from resnet_trt_node.model.files import whole_file
from resnet_trt_node.model.quantize import (
    load_fp32, Placement, quantizable_layers, quantize_model)
from resnet_trt_node.model.sensitivity import LayerSensitivity, measure_sensitivity

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 16
#: One frame in so many is held out to compare the two models on.
_HELD_OUT = 5
#: Frames that sensitivity is measured on at most: each layer is tried on all of them.
_SENSITIVITY_FRAMES = 64
#: Agreement below which the result is told with a warning.
_LOW_AGREEMENT = 0.95
_SHOWN_LAYERS = 10


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument('model', type=Path, metavar='MODEL.onnx', help='deployable fp32 model')
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='OUT.onnx', help='file to write')
    parser.add_argument(
        '--calibration', required=True, metavar='DIR|ZIP|BAG',
        help='pictures that the model is for: a folder, a zip file, a folder within one '
        '(pictures.zip/train), or a bag')
    parser.add_argument(
        '--topic', action='append', metavar='NAME', help='image topic of the bag, again for more')
    parser.add_argument(
        '--limit', type=int, default=512, metavar='N',
        help='pictures to use at most, evenly spread; a fifth of them is held out to compare')
    parser.add_argument(
        '--min-pictures', type=int, default=MIN_FRAMES, metavar='N',
        help='fewer are refused')
    parser.add_argument(
        '--method', choices=METHODS, default='entropy',
        help='how the range of an activation is chosen')
    parser.add_argument(
        '--percentile', type=float, default=99.99, metavar='P',
        help='share of the values, in per cent, that --method percentile covers')
    parser.add_argument(
        '--keep-float', action='append', default=[], metavar='LAYER',
        help='leave this layer in float; again for more')
    parser.add_argument(
        '--keep-worst', type=int, default=0, metavar='N',
        help='leave the N layers in float that hurt most')
    parser.add_argument(
        '--sensitivity', type=Path, metavar='OUT.json',
        help='measure what each layer alone in int8 changes, and write all of them there')
    parser.add_argument('--json', action='store_true', help='print the report as JSON')


def run(arguments: Namespace) -> int:
    """Quantise and tell."""
    model, spec = load_fp32(arguments.model)
    layers = quantizable_layers(model)
    kept = _kept(arguments.keep_float, layers)
    if not 0 <= arguments.keep_worst < len(layers):
        raise UsageError(f'--keep-worst {arguments.keep_worst}: choose 0 to {len(layers) - 1}')
    if arguments.calibration == 'generated':
        raise DataError('generated pictures are not what the model is for: give real ones')
    frames, source = read_frames(
        arguments.calibration, arguments.topic, spec, arguments.limit, 0)
    check_frames(frames, arguments.min_pictures)
    held_out = np.arange(len(frames)) % _HELD_OUT == 0
    used = frames[~held_out]
    ranking: list[LayerSensitivity] = []
    if arguments.sensitivity is not None or arguments.keep_worst:
        ranking = _rank(arguments, used, len(layers))
        kept |= {one.layer for one in ranking[:arguments.keep_worst]}
    batches = [used[start:start + _BATCH] for start in range(0, len(used), _BATCH)]
    passes = 1 if arguments.method == 'minmax' else 2
    with Progress(passes * len(batches), 'batch', arguments.json) as progress:
        quantize_model(
            arguments.model, batches, arguments.output, Placement(keep=frozenset(kept)),
            arguments.method, arguments.percentile, progress.step)
    if arguments.sensitivity is not None:
        with whole_file(arguments.sensitivity) as temporary:
            temporary.write_text(
                json.dumps([asdict(one) for one in ranking], indent=2) + '\n', encoding='utf-8')
    agreement, largest = _compare(arguments, spec, frames[held_out])
    report = {
        'path': str(arguments.output), 'method': arguments.method,
        'percentile': arguments.percentile if arguments.method == 'percentile' else None,
        'pictures': source, 'calibrated_on': len(used), 'compared_on': int(held_out.sum()),
        'same_top1': agreement, 'largest_difference': largest,
        'int8_layers': len(layers) - len(kept), 'float_layers': sorted(kept),
        'size_bytes': arguments.output.stat().st_size,
        'fp32_size_bytes': arguments.model.stat().st_size}
    if arguments.json:
        print_json({**report, 'sensitivity': [asdict(one) for one in ranking]})
    else:
        _print(arguments, report, ranking)
    if agreement < _LOW_AGREEMENT:
        print(f'only {100 * agreement:.1f} % of the answers stay: find the layers that hurt with '
              '--sensitivity OUT.json, keep them in float with --keep-worst N, or try another '
              '--method', file=sys.stderr)
    return 0


def _kept(names: list[str], layers: list[str]) -> set[str]:
    for name in names:
        if name not in layers:
            near = get_close_matches(name, layers, 3) or layers[:3]
            raise UsageError(
                f'--keep-float {name}: no such layer, did you mean {", ".join(near)}?')
    return set(names)


def _rank(
        arguments: Namespace, frames: NDArray[np.uint8], layers: int) -> list[LayerSensitivity]:
    chosen = frames[:: -(-len(frames) // _SENSITIVITY_FRAMES)]
    with Progress(layers, 'layer', arguments.json) as progress:
        return measure_sensitivity(
            arguments.model, chosen, arguments.method, arguments.percentile, _BATCH,
            progress.step)


def _compare(
        arguments: Namespace, spec: ModelSpec, frames: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the share of equal top-1 classes, and the largest difference of a probability."""
    answers = []
    for path in (arguments.model, arguments.output):
        options = BackendOptions(max_batch_size=_BATCH, num_buffers=1)
        with open_backend(path, 'onnxruntime', options) as backend:
            found = np.empty((len(frames), spec.num_classes), np.float32)
            for start in range(0, len(frames), _BATCH):
                batch = frames[start:start + _BATCH]
                backend.buffer()[:len(batch)] = batch
                found[start:start + len(batch)] = backend.infer(len(batch))
            answers.append(found)
    first, second = answers
    return (float((first.argmax(1) == second.argmax(1)).mean()),
            float(np.abs(first - second).max()))


def _print(
        arguments: Namespace, report: dict[str, object],
        ranking: list[LayerSensitivity]) -> None:
    kept = report['float_layers']
    print(f'{arguments.output}: int8, {arguments.method}, {report["int8_layers"]} layers'
          + (f', in float {", ".join(map(str, kept))}' if isinstance(kept, list) and kept else ''))
    print(f'  calibrated on {report["calibrated_on"]} pictures of {report["pictures"]}')
    print(f'  {100 * float(str(report["same_top1"])):.1f} % of the answers as in fp32 on '
          f'{report["compared_on"]} others, probabilities within '
          f'{float(str(report["largest_difference"])):.3f}')
    if ranking:
        widths = [max(len(one.layer) for one in ranking[:_SHOWN_LAYERS]), -12, -12]
        print('  ' + table_row(['layer', 'divergence', 'same top-1'], widths))
        for one in ranking[:_SHOWN_LAYERS]:
            print('  ' + table_row(
                [one.layer, f'{one.divergence:.2e}', f'{100 * one.agreement:.1f} %'], widths))
        if len(ranking) > _SHOWN_LAYERS:
            print(f'  and {count_of(len(ranking) - _SHOWN_LAYERS, "layer")} that hurt less')
