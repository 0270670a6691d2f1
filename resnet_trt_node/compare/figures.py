"""Figures of timings: percentiles, and how far to believe them."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.compare.latency import Timings

PERCENTILES = (50, 90, 99)
_RESAMPLES = 2000


def figures(
        timings: Mapping[str, Timings], batch_size: int, seed: int = 0,
        saved: Optional[Mapping[str, Timings]] = None) -> dict[str, Any]:
    """
    Return the figures of one batch size.

    Inferences of a block are alike for more reasons than their subject, so rounds are what is
    resampled: the intervals are of the median of the rounds' medians, and of the median of their
    ratios to the first subject in the same round, by the bootstrap's percentiles.

    :param timings: label to timings, each with three rounds or more; the first is what the
        others are compared with.
    :param batch_size: frames of each inference.
    :param seed: of the resampling.
    :param saved: label to timings of another run. Its rounds were not in turns with these: the
        ratio is that of the medians, and has no interval.
    :returns: label to figures; `_ms` in milliseconds.
    """
    reference = next(iter(timings.values()))
    found = {
        label: _figures(one, reference, batch_size, np.random.default_rng(seed))
        for label, one in timings.items()}
    first = next(iter(found.values()))
    for label, one in (saved or {}).items():
        found[label] = _figures(one, one, batch_size, np.random.default_rng(seed))
        found[label].update(ratio=found[label]['p50_ms'] / first['p50_ms'], ratio_interval=None)
    return found


def _figures(
        timings: Timings, reference: Timings, batch_size: int,
        random: np.random.Generator) -> dict[str, Any]:
    took_ms = np.concatenate([np.array(block) for block in timings.rounds.values()]) / 1e6
    medians = _medians_ms(timings)
    rounds_ms = np.array(list(medians.values()))
    # A slow subject ends early, but all take part in the first rounds.
    common = _medians_ms(reference)
    ratios = np.array([
        median / common[number] for number, median in medians.items() if number in common])
    return {
        'batch_size': batch_size, 'count': len(took_ms), 'rounds': len(rounds_ms),
        'warm_up': timings.warm_up, 'settle': timings.settle,
        **{f'p{share}_ms': float(np.percentile(took_ms, share)) for share in PERCENTILES},
        'min_ms': float(took_ms.min()), 'max_ms': float(took_ms.max()),
        'mean_ms': float(took_ms.mean()),
        'p50_interval_ms': _interval(rounds_ms, random),
        'round_spread': float((rounds_ms.max() - rounds_ms.min()) / np.median(rounds_ms)),
        'images_s': float(batch_size * 1e3 / took_ms.mean()),
        'ratio': float(np.median(ratios)),
        'ratio_interval': _interval(ratios, random),
        'rounds_p50_ms': {str(number): value for number, value in medians.items()},
        # Every percentile, for the plot; the inferences themselves would be megabytes.
        'curve_ms': [float(value) for value in np.percentile(took_ms, range(101))],
    }


def _medians_ms(timings: Timings) -> dict[int, float]:
    return {number: float(np.median(block)) / 1e6 for number, block in timings.rounds.items()}


def _interval(values: NDArray[np.float64], random: np.random.Generator) -> list[float]:
    """Return the 95 % bootstrap interval of the median."""
    drawn = random.choice(values, (_RESAMPLES, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return [float(low), float(high)]
