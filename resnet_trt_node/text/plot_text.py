"""Numbers as all plots show them: three digits, and one notation on an axis."""

from __future__ import annotations

import math


def three_digits(value: float) -> str:
    """Return a number with three significant digits and never an exponent: 0.330, 12.1, 31,200."""
    if not value or not math.isfinite(value):
        return f'{value:g}'
    places = 2 - math.floor(math.log10(abs(float(f'{value:.2e}'))))
    return f'{round(value, places):,.{max(0, places)}f}'


def log_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """
    Return ticks of a logarithmic axis with their texts.

    They are 1, 2 and 5 times powers of ten. Where fewer than three of them are in the range, ticks
    at equal distances are added; where more than eight are, only powers of ten stay.

    :param low: the lower end of the axis, above 0.
    :param high: the upper end, above `low`.
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        exact = [(step, exponent) for exponent in exponents for step in steps
                 if low <= step * 10.0 ** exponent <= high]
        if len(exact) <= 8:
            break
    if len(exact) < 3:
        exact = _equal_ticks(low, high)
    return ([step * 10.0 ** exponent for step, exponent in exact],
            [f'{step * 10.0 ** exponent:,.{max(0, -exponent)}f}' for step, exponent in exact])


def _equal_ticks(low: float, high: float) -> list[tuple[int, int]]:
    """Return three to six ticks at equal distances, as numbers and exponents of ten."""
    exponent = math.floor(math.log10(high - low))
    for step, down in ((5, 0), (2, 0), (1, 0), (5, 1), (2, 1), (1, 1)):
        scale = 10.0 ** (exponent - down)
        first = math.ceil(low / (step * scale)) * step
        ticks = list(range(first, math.floor(high / scale + 1e-9) + 1, step))
        if len(ticks) >= 3:
            break
    return [(tick, exponent - down) for tick in ticks]
