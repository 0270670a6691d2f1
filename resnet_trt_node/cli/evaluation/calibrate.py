"""`resnet_trt calibrate`: fits a temperature, so that scores say how often the model is right."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.arguments.evaluation.calibrate import MIN_PICTURES
from resnet_trt_node.cli.support.console import log, print_json, print_table, write
from resnet_trt_node.cli.support.evaluation.measurement import (
    labelled_items, measure, open_labelled, refuse_simulated)
from resnet_trt_node.cli.support.options import backend_document, describe_backend, open_model
from resnet_trt_node.contract.model_file import load_model, naming, spec_of
from resnet_trt_node.errors import DataError, UsageError
from resnet_trt_node.evaluation.outcomes import OutcomeCollector
from resnet_trt_node.evaluation.reliability import Calibration, measure_calibration
from resnet_trt_node.evaluation.temperature import fit_temperature, with_temperature
from resnet_trt_node.onnx_tools.temperature import temperature_of, write_calibrated


def run(arguments: Namespace) -> int:
    """Fit, write and print the calibration error before and after."""
    if arguments.limit is not None and arguments.limit < MIN_PICTURES:
        raise UsageError(f'--limit {arguments.limit}: choose at least {MIN_PICTURES}')
    refuse_simulated(arguments.backend)
    check_place(arguments.output, arguments.model)
    model = load_model(arguments.model)
    with naming(arguments.model):
        spec = spec_of(model)
        # Before the pictures, which take minutes.
        before = temperature_of(model)
    rows: list[NDArray[np.float32]] = []
    targets: list[int] = []

    def take(answers: Any, target: int) -> None:
        rows.append(answers[0])
        targets.append(target)

    with open_labelled(arguments, spec) as pictures, open_model(arguments) as backend:
        measured = measure(
            [backend], labelled_items(arguments, pictures), pictures, arguments, take)
        info = backend.info
    if len(rows) < MIN_PICTURES:
        raise DataError(
            f'{len(rows)} usable {pictures.noun}s: calibrate on at least {MIN_PICTURES}, half of '
            'which check the temperature of the others')
    found = _calibrate(np.stack(rows), np.array(targets))
    written = write_calibrated(arguments.model, arguments.output, found['factor'])
    document = {
        'model': arguments.model, 'output': str(arguments.output), 'images': arguments.images,
        'backend': backend_document(info), 'count': len(rows), 'failures': measured.failures,
        'unusable': measured.unusable, 'unlabelled': pictures.unlabelled,
        'temperature_before': before, 'temperature': before * found['factor'], **found,
        'sha256': written.sha256, 'max_abs_difference': written.max_abs_difference}
    if arguments.json:
        print_json('calibrate', document)
    else:
        log(f'{len(rows)} {pictures.noun}s classified by {describe_backend(info)}')
        if measured.unusable:
            log(measured.describe_unusable())
        _print(document)
    return 0


def _calibrate(
        rows: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, Any]:
    """Fit on all pictures, and on one half to check it on the other."""
    order = np.random.default_rng(0).permutation(len(rows))
    held_out, others = np.array_split(order, 2)
    checked = fit_temperature(rows[others], targets[others])
    factor = fit_temperature(rows, targets)
    return {
        'factor': factor, 'held_out': {
            'count': len(held_out), 'factor': checked,
            **_before_and_after(rows[held_out], targets[held_out], checked)},
        'all': {'count': len(rows), **_before_and_after(rows, targets, factor)}}


def _before_and_after(
        rows: NDArray[np.float32], targets: NDArray[np.int64],
        factor: float) -> dict[str, dict[str, float]]:
    found = {}
    for name, these in (('before', rows), ('after', with_temperature(rows, factor))):
        calibration = _calibration_of(these, targets)
        found[name] = {
            'expected_error': calibration.expected_error, 'nll': calibration.nll,
            'mean_confidence': calibration.mean_confidence}
    return found


def _calibration_of(
        rows: NDArray[np.float32], targets: NDArray[np.int64]) -> Calibration:
    collector = OutcomeCollector()
    for row, target in zip(rows, targets):
        collector.add(row, int(target))
    return measure_calibration(collector.outcomes())


def _print(document: dict[str, Any]) -> None:
    before = document['temperature_before']
    had = '' if before == 1 else f', {before:.4f} before'
    write(f'temperature {document["temperature"]:.4f}{had}')
    held_out = document['held_out']
    rows = []
    for name, factor, one in (
            ('held out', held_out['factor'], held_out),
            ('all', document['factor'], document['all'])):
        rows.append([
            name, str(one['count']), f'{factor:.4f}',
            *(f'{100 * one[when]["expected_error"]:.2f} %' for when in ('before', 'after')),
            *(f'{one[when]["nll"]:.4f}' for when in ('before', 'after'))])
    print_table(
        ['PICTURES', '', 'FACTOR', 'ECE', 'AFTER', 'NLL', 'AFTER'], rows, 'lrrrrrr')
    if held_out['after']['nll'] >= held_out['before']['nll']:
        write('On the held-out half it is no better than before: the model was calibrated '
              'already, or take more pictures.')
    write(f'{document["output"]}: answers within {document["max_abs_difference"]:.2g} of those '
          'of the model at this temperature')
