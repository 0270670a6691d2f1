"""Runs one or two models on labelled pictures and collects their outcomes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter_ns
from typing import Any, Optional

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.cli.support.console import count_of, log, Progress
from resnet_trt_node.datasets.labelled import LabelledPicture
from resnet_trt_node.errors import AnswerError, DataError, FrameError
from resnet_trt_node.evaluation.agreement import Agreement, AgreementCollector
from resnet_trt_node.evaluation.outcomes import OutcomeCollector, Outcomes
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import ResizeMethod

_Decode = Callable[[LabelledPicture], Frame]


@dataclass(frozen=True)
class Measured:
    """
    The result of one evaluation.

    :param outcomes: one for each model, on the pictures that no model failed on.
    :param agreement: agreement of two models; None for one.
    :param failures: name and error of the other pictures.
    :param wall_ns: time from the first picture to the last answer.
    :param decode_ns: the part of it spent on reading and decoding.
    """

    outcomes: list[Outcomes]
    agreement: Optional[Agreement]
    failures: list[dict[str, str]]
    wall_ns: int
    decode_ns: int


def measure(
        backends: Sequence[Backend], items: Sequence[LabelledPicture], decode: _Decode,
        arguments: Namespace) -> Measured:
    """
    Run one or two models on labelled pictures.

    :param backends: open backends, whose models have the same classes.
    :param items: the pictures.
    :param decode: reads and decodes one.
    :param arguments: the options of `add_output_arguments` and `add_backend_arguments`.
    :raises FrameError: for the first picture that cannot be used, unless --skip-bad is given.
    :raises DataError: if no picture can be used.
    """
    collectors = [OutcomeCollector() for _ in backends]
    pair = AgreementCollector() if len(backends) == 2 else None
    failures: list[dict[str, str]] = []
    decode_ns = 0

    def timed(item: LabelledPicture) -> Frame:
        nonlocal decode_ns
        start_ns = perf_counter_ns()
        try:
            return decode(item)
        finally:
            decode_ns += perf_counter_ns() - start_ns

    with Progress(len(items), 'picture', quiet=arguments.json) as progress:
        def fail(item: LabelledPicture, error: FrameError) -> None:
            if not arguments.skip_bad:
                remedy = '' if isinstance(error, AnswerError) else 'mend the data, or '
                raise type(error)(
                    f'{error}; {remedy}skip such files with --skip-bad') from error
            failures.append({'file': item.name, 'error': str(error)})
            progress.step()
            if not arguments.json:
                log(f'skipped: {error}')

        hits = done = 0
        start_ns = perf_counter_ns()
        for item, rows in _answers(backends, items, timed, fail, arguments.resize_method):
            for place, (collector, row) in enumerate(zip(collectors, rows)):
                hits += collector.add(row, item.target) and place == 0
            if pair is not None:
                pair.add(rows[0], rows[1], item.target)
            done += 1
            progress.step(f'top-1 {hits / done:.1%}')
        wall_ns = perf_counter_ns() - start_ns
    if not done:
        raise DataError(
            f'none of {count_of(len(items), "picture")} could be used; the first: '
            f'{failures[0]["error"]}')
    return Measured(
        [collector.outcomes() for collector in collectors],
        pair.agreement() if pair is not None else None, failures, wall_ns, decode_ns)


def _answers(
        backends: Sequence[Backend], items: Sequence[LabelledPicture], decode: _Decode,
        fail: Callable[[LabelledPicture, FrameError], None],
        method: ResizeMethod) -> Iterator[tuple[LabelledPicture, list[Any]]]:
    """Yield each picture with one row for each model; a failure in one model skips it for all."""
    classifiers = [Classifier(backend, method=method) for backend in backends]
    size = max(backend.max_batch_size for backend in backends)
    for start in range(0, len(items), size):
        usable = items[start:start + size]
        # Each picture is decoded once for all models; the cache holds one batch.
        frames = lru_cache(maxsize=None)(decode)
        answers: list[dict[str, Any]] = []
        for classifier in classifiers:
            answers.append({
                item.name: row for item, row in classifier.probabilities(
                    usable, frames, fail, lambda item: item.name)})
            usable = [item for item in usable if item.name in answers[-1]]
        for item in usable:
            yield item, [rows[item.name] for rows in answers]
