"""
Measuring tiles: each layer of a model is compiled with one after the other, and the fastest kept.

The layer that holds the model up longest for the measurements it had gets the next one, so that
the time goes where it pays, and whatever was found when time or patience ends is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import Any, Callable, Iterator, Optional

import numpy as np

from resnet_trt_node.backends.tvm.database import Record, TuningDatabase
from resnet_trt_node.backends.tvm.layers import compute, pack
from resnet_trt_node.backends.tvm.runtime import Processor, use_threads
from resnet_trt_node.backends.tvm.schedule import schedule_function
from resnet_trt_node.backends.tvm.workload import (
    candidate_tiles, default_tile, Tile, variations, Workload)
from resnet_trt_node.errors import BackendError

#: Seconds that one tile is measured for; the fastest run counts, so that other processes disturb
#: little.
_MEASURE_S = 0.03
#: Tiles whose other loop orders are tried.
_FINALISTS = 3
#: Measurements between two writes of the database.
_SAVE_EVERY = 20


@dataclass(frozen=True)
class TuningProgress:
    """
    How far tuning is.

    :param trials: tiles measured.
    :param elapsed_s: seconds since it began.
    :param before_ms: what the layers take together with the tiles chosen without measuring, in
        milliseconds; those not measured yet count nothing.
    :param now_ms: what they take with the best tiles so far.
    :param workload: the layer measured last.
    """

    trials: int
    elapsed_s: float
    before_ms: float
    now_ms: float
    workload: Workload


@dataclass
class _Search:
    """The tiles of one workload: measured ones, and those to come."""

    workload: Workload
    occurrences: int
    coming: Iterator[Tile]
    measured: dict[Tile, float] = field(default_factory=dict)

    @property
    def best(self) -> tuple[Tile, float]:
        return min(self.measured.items(), key=lambda item: item[1])


def tune(
        tvm: Any, workloads: dict[Workload, int], database: TuningDatabase, processor: Processor,
        threads: int, max_seconds: float, max_trials: Optional[int] = None, batch_size: int = 1,
        report: Callable[[TuningProgress], None] = lambda progress: None) -> TuningProgress:
    """
    Search tiles and keep the best in the database, also when it is interrupted.

    :param tvm: the package.
    :param workloads: the layers, and how often each occurs.
    :param database: saved now and then and at the end; its records are where the search begins.
    :param processor: the CPU, this machine's.
    :param threads: how many compute.
    :param max_seconds: the search ends after so many seconds,
    :param max_trials: after so many measurements, None for any number,
    :param batch_size: frames in the batch to be fast at.
    :param report: called after each measurement.
    :raises BackendError: if there is nothing to tune, or the database cannot be written.
    """
    if not workloads:
        raise BackendError(
            'the model has no convolution or matrix product with constant fp32 weights: there is '
            'nothing to tune')
    meter = _Meter(tvm, processor, database, threads, batch_size)
    searches = [
        _Search(workload, occurrences, _tiles(workload, database))
        for workload, occurrences in workloads.items()]
    start, trials = monotonic(), 0
    progress: Optional[TuningProgress] = None
    open_searches = list(searches)
    try:
        while open_searches and (progress is None or progress.elapsed_s < max_seconds) and (
                max_trials is None or trials < max_trials):
            search = max(open_searches, key=_need)
            tile = _next_tile(search)
            if tile is None:
                open_searches.remove(search)
                continue
            search.measured[tile] = meter.seconds(search.workload, tile)
            trials += 1
            progress = TuningProgress(
                trials, monotonic() - start, *_sums_ms(searches, database), search.workload)
            report(progress)
            if trials % _SAVE_EVERY == 0:
                _keep(searches, database)
    finally:
        _keep(searches, database)
    if progress is None:
        raise BackendError('no time for a single measurement: give more minutes or trials')
    return progress


def _tiles(workload: Workload, database: TuningDatabase) -> Iterator[Tile]:
    """Give the default tile, the recorded one, then the rest."""
    default = default_tile(workload, database.registers)
    yield default
    record = database.records.get(workload)
    if record is not None:
        yield record.tile
    yield from candidate_tiles(workload, database.registers)


def _next_tile(search: _Search) -> Optional[Tile]:
    """Return a tile that was not measured yet: a new cut, else a finalist in another order."""
    for tile in search.coming:
        if tile not in search.measured:
            return tile
    finalists = sorted(search.measured, key=lambda tile: search.measured[tile])[:_FINALISTS]
    for finalist in finalists:
        for tile in variations(finalist, search.workload):
            if tile not in search.measured:
                return tile
    return None


def _need(search: _Search) -> float:
    if not search.measured:
        return float('inf')
    return search.occurrences * search.best[1] / len(search.measured)


def _sums_ms(searches: list[_Search], database: TuningDatabase) -> tuple[float, float]:
    before = now = 0.0
    for search in searches:
        if search.measured:
            default = default_tile(search.workload, database.registers)
            before += search.occurrences * search.measured[default] * 1e3
            now += search.occurrences * search.best[1] * 1e3
    return before, now


def _keep(searches: list[_Search], database: TuningDatabase) -> None:
    for search in searches:
        if not search.measured:
            continue
        record = database.records.get(search.workload)
        if record is not None and record.tile not in search.measured:
            # Cut off before the recorded tile had its turn: nothing is known to be faster.
            continue
        tile, seconds = search.best
        default = default_tile(search.workload, database.registers)
        database.add(search.workload, Record(
            tile, seconds * 1e6, search.measured[default] * 1e6, len(search.measured)))
    database.save()


class _Meter:
    """Compiles single layers, each with bias and ReLU behind it, and times them."""

    def __init__(
            self, tvm: Any, processor: Processor, database: TuningDatabase, threads: int,
            batch_size: int) -> None:
        self._tvm = tvm
        self._target = processor.target(tvm)
        self._registers = database.registers
        self._threads = threads
        self._batch_size = batch_size

    def seconds(self, workload: Workload, tile: Tile) -> float:
        """Return what the fastest run took."""
        tvm = self._tvm
        use_threads(self._threads)
        function = schedule_function(
            tvm, self._function(workload, tile), lambda _: tile, self._registers)
        with self._target, tvm.transform.PassContext(opt_level=3):
            library = tvm.compile(tvm.IRModule({'main': function}), target=self._target)
        run = library['main']
        arguments = [tvm.runtime.tensor(array, tvm.cpu()) for array in self._arrays(
            workload, tile)]
        run(*arguments)
        fastest, end = float('inf'), monotonic() + _MEASURE_S
        while fastest == float('inf') or monotonic() < end:
            start = perf_counter()
            run(*arguments)
            fastest = min(fastest, perf_counter() - start)
        return fastest

    def _function(self, workload: Workload, tile: Tile) -> Any:
        tvm, te = self._tvm, self._tvm.te
        batch = tvm.tirx.Var('n', 'int64')
        shapes = [array.shape for array in self._arrays(workload, tile, empty=True)]

        def sides(shape: tuple[int, ...]) -> list[Any]:
            return [tvm.tirx.IntImm('int64', side) for side in shape]

        data = te.placeholder((batch, *sides(shapes[0][1:])), name='data')
        weights = te.placeholder(sides(shapes[1]), name='weights')
        bias = te.placeholder(sides(shapes[2]), name='bias')
        summed = compute(tvm, workload, data, weights, tile.filters)
        zero = tvm.tirx.const(0.0, 'float32')
        result = te.compute(
            summed.shape,
            lambda *index: tvm.tirx.max(summed[index] + bias[index[-1]], zero), name='result')
        function = te.create_prim_func([data, weights, bias, result])
        return function.with_attr('global_symbol', 'main').with_attr('tirx.noalias', True)

    def _arrays(
            self, workload: Workload, tile: Tile, empty: bool = False) -> list[np.ndarray]:
        """Return data, packed weights, bias and result, numbers near one."""
        dense = workload.kind == 'dense'
        inside = (workload.height, workload.width) if not dense else ()
        outside = workload.output if not dense else ()
        shape = (workload.channels, workload.filters) if dense else (
            workload.filters, *workload.kernel,
            1 if workload.kind == 'depthwise' else workload.channels)
        make = np.empty if empty else np.ones
        return [
            make((self._batch_size, *inside, workload.channels), np.float32),
            pack(workload, make(shape, np.float32), tile.filters),
            make((workload.filters,), np.float32),
            make((self._batch_size, *outside, workload.filters), np.float32)]
