"""How far two distributions of answers are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Where the index and the rule of thumb of `describe` are discussed.
SOURCE = 'du Pisanie et al., arXiv:2303.01227'


def stability_index(first: Sequence[int], second: Sequence[int]) -> float:
    """
    Return the population stability index of two distributions, 0 where they are the same.

    It is the sum of (p - q) ln(p / q) over the classes, which is symmetric in p and q; see
    `SOURCE`, and B. Yurdakul, Statistical Properties of Population Stability Index, Western
    Michigan University, 2018. Half an answer is added to each class, since the logarithm of an
    empty one is infinite.

    :param first: number of answers of each class.
    :param second: likewise, of the same classes.
    :returns: NaN where either has no answer.
    """
    shares = []
    for counts in (first, second):
        if not sum(counts):
            return float('nan')
        smoothed = np.asarray(counts, np.float64) + 0.5
        shares.append(smoothed / smoothed.sum())
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def describe(index: float) -> str:
    """Return what practice makes of an index: below 0.1 and from 0.25 on are usual bounds."""
    if np.isnan(index):
        return 'unknown'
    return 'stable' if index < 0.1 else 'some drift' if index < 0.25 else 'large drift'
