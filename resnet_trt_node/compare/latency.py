"""
Latencies of several subjects, in turns.

Polygraphy's Comparator runs one runner to its end and then the next. Whatever changes meanwhile,
the clock of a warm chip, a neighbour on the machine, then counts against one of them. Here each
round visits every subject once, in a random order, for a short block of inferences: a drift falls
on all alike, and what remains between rounds is the noise, which is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
from typing import Callable, Mapping, Optional, Sequence

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.backends.options import check_fields, number
from resnet_trt_node.compare.subject import Subject
from resnet_trt_node.errors import UsageError

#: A slow subject's turn may take longer than its share; it still gets so many rounds.
MIN_ROUNDS = 3
#: Warming up ends after this long, whatever the number asked for.
_WARM_UP_S = 10.0
#: A subject this much slower than `settle_ms` needs no settling: what the one before it left in
#: the caches is little against one inference.
_SLOW = 5


@dataclass(frozen=True)
class Plan:
    """
    What is measured.

    :param batch_sizes: each measured by itself, rising.
    :param rounds: blocks of each subject and batch size.
    :param seconds: timed seconds of each subject and batch size, all its blocks together.
    :param iterations: timed inferences instead of seconds.
    :param warm_up: inferences before anything is timed.
    :param settle_ms: untimed inferences at the start of each block take about so long: caches
        and clocks are then as this subject has them, not as the one before it left them.
    :param seed: of the order within the rounds.
    :raises UsageError: for numbers out of range.
    """

    batch_sizes: tuple[int, ...] = (1,)
    rounds: int = number(20, MIN_ROUNDS, 1000)
    seconds: float = number(4.0, 0.01, 3600)
    iterations: Optional[int] = number(None, MIN_ROUNDS, 10_000_000)
    warm_up: int = number(10, 1, 100_000)
    settle_ms: float = number(20.0, 0, 1000)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        sizes = self.batch_sizes
        if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] > 1024:
            raise UsageError(f'batch sizes {list(sizes)}: choose rising ones from 1 to 1024')
        check_fields(self)


@dataclass
class Timings:
    """
    What one subject took at one batch size.

    :param warm_up: inferences before anything was timed.
    :param settle: untimed inferences at the start of each block.
    :param rounds: number of a round to what its inferences took, in nanoseconds.
    """

    warm_up: int
    settle: int
    rounds: dict[int, list[int]] = field(default_factory=dict)

    @property
    def spent_ns(self) -> int:
        """Return the sum of all timed inferences."""
        return sum(sum(block) for block in self.rounds.values())


def measure(
        subjects: Mapping[str, Subject], frames: NDArray[np.uint8], plan: Plan,
        step: Callable[[str], None] = lambda note: None) -> dict[int, dict[str, Timings]]:
    """
    Measure every subject at every batch size.

    :param subjects: label to open subject.
    :param frames: uint8 (N, H, W, 3) RGB, at least one; a batch takes the first ones, again from
        the start if there are too few.
    :param plan: what is measured.
    :param step: called after each turn of a subject, with its label; `plan.rounds` times a
        subject and batch size, with fewer turns for slow ones counted as taken.
    :returns: batch size to label to timings.
    :raises InferenceError: if a runtime fails.
    """
    random = np.random.default_rng(plan.seed)
    return {
        size: _measure_size(subjects, frames[np.arange(size) % len(frames)], plan, random, step)
        for size in plan.batch_sizes}


def _measure_size(
        subjects: Mapping[str, Subject], batch: NDArray[np.uint8], plan: Plan,
        random: np.random.Generator, step: Callable[[str], None]) -> dict[str, Timings]:
    timings: dict[str, Timings] = {}
    counts: dict[str, Sequence[int]] = {}
    for label, subject in subjects.items():
        subject.load(batch)
        timings[label], counts[label] = _warm_up(subject, plan)
    labels = list(subjects)
    for turn in range(plan.rounds):
        for place in random.permutation(len(labels)):
            label = labels[place]
            count = counts[label][turn]
            if count and not _is_spent(timings[label], plan):
                timings[label].rounds[turn] = subjects[label].time(
                    timings[label].settle, count)
            step(label)
    return timings


def _warm_up(subject: Subject, plan: Plan) -> tuple[Timings, Sequence[int]]:
    """Warm up; return empty timings and how many inferences each round's block has."""
    first_ns = subject.time(0, 1)
    fitting = math.ceil(_WARM_UP_S * 1e9 / max(1, first_ns[0]))
    warm_ns = first_ns + subject.time(0, min(plan.warm_up - 1, fitting))
    # The first inferences allocate and choose; the later half is what it takes.
    estimate_ns = max(1.0, float(np.median(warm_ns[len(warm_ns) // 2:])))
    slow = estimate_ns > _SLOW * plan.settle_ms * 1e6
    settle = 0 if slow else math.ceil(plan.settle_ms * 1e6 / estimate_ns)
    if plan.iterations is None:
        counts = [max(1, round(plan.seconds * 1e9 / plan.rounds / estimate_ns))] * plan.rounds
    else:
        each, more = divmod(plan.iterations, plan.rounds)
        counts = [each + (turn < more) for turn in range(plan.rounds)]
    return Timings(len(warm_ns), settle), counts


def _is_spent(timings: Timings, plan: Plan) -> bool:
    """Tell whether a subject, a slow one as a rule, has used up its seconds in fewer rounds."""
    return (
        plan.iterations is None and len(timings.rounds) >= MIN_ROUNDS
        and timings.spent_ns >= plan.seconds * 1e9)
