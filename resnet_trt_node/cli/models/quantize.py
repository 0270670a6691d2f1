"""`resnet_trt quantize`: makes a deployable fp32 model int8, calibrated on pictures or a bag."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from difflib import get_close_matches
from itertools import combinations
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
import onnx
from resnet_trt_node.atomic_file import check_place, whole_file
from resnet_trt_node.cli.arguments.models.quantize import PERCENTILE
from resnet_trt_node.cli.arguments.shared import GENERATED
from resnet_trt_node.cli.support.console import (
    count_of, log, print_json, print_table, Progress, write)
from resnet_trt_node.cli.support.example_frames import read_frames
from resnet_trt_node.cli.support.options import max_image_bytes
from resnet_trt_node.contract.prediction import MULTI_LABEL_THRESHOLD
from resnet_trt_node.errors import DataError, UsageError
from resnet_trt_node.evaluation.agreement import same_answers
from resnet_trt_node.evaluation.outcomes import wilson_interval
from resnet_trt_node.json_document import json_document
from resnet_trt_node.onnx_tools.int8.frames import check_frames, distinct_frames
from resnet_trt_node.onnx_tools.int8.quantize import (
    layers_left_float, load_fp32, Placement, quantizable_layers, quantized_model)
from resnet_trt_node.onnx_tools.int8.sensitivity import (
    answers_of, divergence, LayerSensitivity, measure_sensitivity)

_BATCH = 16
#: One frame in this many is held out to compare the two models on.
_HELD_OUT = 5
#: Largest number of frames for the sensitivity, for which each layer is run on all of them.
_SENSITIVITY_FRAMES = 64
#: If the agreement is significantly lower, a warning is printed.
_LOW_AGREEMENT = 0.95
_SHOWN_LAYERS = 10


def run(arguments: Namespace) -> int:
    """Quantise the model and print the report."""
    _check(arguments)
    model, spec = load_fp32(arguments.model)
    layers = quantizable_layers(model)
    kept = _kept(arguments, layers)
    read, source = read_frames(
        arguments.images, arguments.topic, spec, arguments.limit, 0,
        max_bytes=max_image_bytes(arguments))
    frames = distinct_frames(read)
    if len(frames) < len(read):
        source += f'; {len(read) - len(frames)} of them repeat others and are left out'
    check_frames(frames, arguments.min_pictures)
    held_out = _held_out(len(frames))
    used = frames[~held_out]
    ranking: list[LayerSensitivity] = []
    if arguments.sensitivity is not None or arguments.keep_worst:
        ranking = _rank(arguments, used, len(layers))
        others = [one.layer for one in ranking if one.layer not in kept]
        kept |= set(others[:arguments.keep_worst])
    quantized = _quantize(arguments, used, kept)
    compared = _compare(model, quantized, frames[held_out], spec.multi_label)
    _write(arguments, quantized, ranking)
    report = {
        'path': str(arguments.output), 'method': arguments.method,
        'percentile': arguments.percentile if arguments.method == 'percentile' else None,
        'pictures': source, 'calibrated_on': len(used), 'compared_on': int(held_out.sum()),
        **compared, 'int8_layers': len(layers) - len(kept), 'float_layers': sorted(kept),
        'always_float': layers_left_float(model),
        'size_bytes': arguments.output.stat().st_size,
        'fp32_size_bytes': arguments.model.stat().st_size}
    if arguments.json:
        print_json('quantize', {**report, 'sensitivity': [asdict(one) for one in ranking]})
    else:
        _print(arguments, report, ranking)
    if compared['same_top1_95'][1] < _LOW_AGREEMENT:
        log(f'only {100 * compared["same_top1"]:.1f} % of the answers stay the same: find the '
            'sensitive layers with --sensitivity OUT.json, keep them in float with '
            '--keep-worst N, or try another --method')
    return 0


def _check(arguments: Namespace) -> None:
    """Refuse wrong options before the calibration, which takes minutes."""
    if arguments.images == GENERATED:
        raise DataError('generated pictures give wrong ranges: calibrate on real ones')
    if arguments.min_pictures < 2:
        raise UsageError(
            f'--min-pictures {arguments.min_pictures}: choose at least 2, one to calibrate on and '
            'one to compare with')
    if 1 <= arguments.limit < arguments.min_pictures:
        raise UsageError(
            f'--limit {arguments.limit} is below --min-pictures {arguments.min_pictures}: choose '
            'more')
    if arguments.percentile is not None and arguments.method != 'percentile':
        raise UsageError('--percentile is for --method percentile: leave one of them out')
    if arguments.percentile is None:
        arguments.percentile = PERCENTILE
    files = {'MODEL': arguments.model, '--output': arguments.output}
    if arguments.sensitivity is not None:
        files['--sensitivity'] = arguments.sensitivity
    for (other, known), (name, path) in combinations(files.items(), 2):
        place, taken = path.resolve(), known.resolve()
        if place == taken:
            raise UsageError(f'{name} {path} is also {other}: name another file')
        if taken in place.parents or place in taken.parents:
            raise UsageError(f'{name} {path} and {other} cannot both be files: name another file')
        check_place(path)


def _kept(arguments: Namespace, layers: list[str]) -> set[str]:
    """Return the layers that the user keeps in float."""
    for name in arguments.keep_float:
        if name not in layers:
            near = get_close_matches(name, layers, 3) or layers[:3]
            raise UsageError(
                f'--keep-float {name}: no such layer, did you mean {", ".join(near)}?')
    kept = set(arguments.keep_float)
    most = len(layers) - len(kept) - 1
    if most < 0:
        raise UsageError('--keep-float names every layer: nothing is left to quantise')
    if not 0 <= arguments.keep_worst <= most:
        raise UsageError(f'--keep-worst {arguments.keep_worst}: choose 0 to {most}')
    return kept


def _held_out(count: int) -> NDArray[np.bool_]:
    """Choose the held-out frames at random: every fifth of five cameras would be one camera."""
    held_out = np.zeros(count, bool)
    chosen = np.random.default_rng(0).permutation(count)[:max(1, count // _HELD_OUT)]
    held_out[chosen] = True
    return held_out


def _rank(
        arguments: Namespace, frames: NDArray[np.uint8], layers: int) -> list[LayerSensitivity]:
    chosen = frames[:: -(-len(frames) // _SENSITIVITY_FRAMES)]
    with Progress(layers, 'layer', arguments.json) as progress:
        return measure_sensitivity(
            arguments.model, chosen, arguments.method, arguments.percentile, _BATCH,
            progress.step)


def _quantize(
        arguments: Namespace, frames: NDArray[np.uint8], kept: set[str]) -> onnx.ModelProto:
    batches = _batches(frames)
    passes = 1 if arguments.method == 'minmax' else 2
    with Progress(passes * len(batches), 'batch', arguments.json) as progress:
        return quantized_model(
            arguments.model, batches, Placement(keep=frozenset(kept)), arguments.method,
            arguments.percentile, progress.step)[0]


def _batches(frames: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [frames[start:start + _BATCH] for start in range(0, len(frames), _BATCH)]


def _compare(
        fp32: onnx.ModelProto, int8: onnx.ModelProto,
        frames: NDArray[np.uint8], multi_label: bool) -> dict[str, Any]:
    """Return how far the answers of two models differ, by the keys of the report."""
    first, second = (answers_of(model, _batches(frames)) for model in (fp32, int8))
    same = int(same_answers(
        first, second, MULTI_LABEL_THRESHOLD if multi_label else None).sum())
    return {'same_top1': same / len(frames),
            'same_top1_95': wilson_interval(same, len(frames)),
            'divergence': divergence(first, second, multi_label),
            'largest_difference': float(np.abs(first - second).max())}


def _write(
        arguments: Namespace, model: onnx.ModelProto, ranking: list[LayerSensitivity]) -> None:
    """Write both files or neither."""
    with whole_file(arguments.output) as temporary:
        onnx.save(model, str(temporary))
        if arguments.sensitivity is not None:
            with whole_file(arguments.sensitivity) as table:
                table.write_text(
                    json.dumps(json_document(
                        'sensitivity', {'layers': [asdict(one) for one in ranking]}), indent=2,
                        ensure_ascii=False) + '\n', encoding='utf-8')


def _print(
        arguments: Namespace, report: dict[str, Any],
        ranking: list[LayerSensitivity]) -> None:
    kept = report['float_layers']
    write(f'{arguments.output}: int8, {arguments.method}, '
          f'{count_of(report["int8_layers"], "layer")}'
          + (f', in float {", ".join(kept)}' if kept else ''))
    if report['always_float']:
        write('  always in float: ' + ', '.join(
            count_of(number, kind) for kind, number in report['always_float'].items()))
    write(f'  calibrated on {count_of(report["calibrated_on"], "picture")}: {report["pictures"]}')
    low, high = report['same_top1_95']
    write(f'  {100 * report["same_top1"]:.1f} % of the answers as in fp32 on '
          f'{report["compared_on"]} others (95 % confidence: {100 * low:.1f} to {100 * high:.1f} '
          f'%), divergence {report["divergence"]:.2e}, probabilities within '
          f'{report["largest_difference"]:.3f}')
    if ranking:
        print_table(('layer', 'divergence', 'same top-1'), [
            (one.layer, f'{one.divergence:.2e}', f'{100 * one.agreement:.1f} %')
            for one in ranking[:_SHOWN_LAYERS]], 'lrr', '  ')
        if len(ranking) > _SHOWN_LAYERS:
            write(f'  and {count_of(len(ranking) - _SHOWN_LAYERS, "layer")} less sensitive')
