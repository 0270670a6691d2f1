"""The plots of the report, as SVG inside the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.fleet.report.markup import duration, percent, text
from resnet_trt_node.text.fitting import shortened

#: Colours of the most frequent classes, of all others, and of rows without an answer.
COLOURS = ('#4c72b0', '#dd8452', '#55a868', '#c44e52', '#8172b3', '#937860', '#da8bc3', '#ccb974',
           '#64b5cd')
OTHER, SKIPPED = '#d3d8df', '#30353d'
#: Of the run, and of the one that it is compared with.
FIRST, SECOND = '#4c72b0', '#dd8452'
_WIDTH = 944
_GRID, _AXIS = '#e2e5ea', '#9aa1ab'
#: Steps of a time axis in seconds.
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
          86400)
_MOST_TICKS = 7


def timeline(
        counts: NDArray[np.int64], colours: Sequence[str], names: Sequence[str],
        length_s: float) -> str:
    """
    Draw the shares of classes over the time of a drive.

    :param counts: int64 (bins, columns), rows in each part of the time; parts without any stay
        white.
    :param colours: of the columns.
    :param names: of the columns.
    :param length_s: of the drive, in seconds.
    """
    height, bottom = 44, 18
    totals = counts.sum(axis=1)
    filled = np.flatnonzero(totals)
    ends = np.cumsum(counts, axis=1) / np.maximum(totals, 1)[:, None]
    edges = np.linspace(0, _WIDTH, len(counts) + 1)
    parts = []
    for column, (colour, name) in enumerate(zip(colours, names)):
        pieces = []
        for place in filled.tolist():
            if counts[place, column]:
                low = ends[place, column - 1] if column else 0.0
                top = height * (1 - ends[place, column])
                pieces.append(
                    f'M{edges[place]:.1f} {top:.1f}H{edges[place + 1]:.1f}'
                    f'V{height * (1 - low):.1f}H{edges[place]:.1f}z')
        if pieces:
            share = percent(counts[:, column].sum() / totals.sum())
            parts.append(
                f'<path fill="{colour}" shape-rendering="crispEdges" d="{"".join(pieces)}">'
                f'<title>{text(name)}: {share}</title></path>')
    step = next((one for one in _STEPS if length_s / one < _MOST_TICKS), _STEPS[-1])
    for tick in np.arange(0, length_s + 1e-9, step)[:50].tolist():
        place = tick / length_s * _WIDTH if length_s else 0.0
        anchor = 'start' if place < 20 else 'end' if place > _WIDTH - 30 else 'middle'
        parts.append(
            f'<path stroke="{_AXIS}" d="M{place:.1f} {height}v4"/><text class="faint" '
            f'x="{place:.1f}" y="{height + 16}" text-anchor="{anchor}">'
            f'{duration(tick) if tick else "0"}</text>')
    return _svg(height + bottom, parts, f'classes over {duration(length_s)}')


def bars(
        rows: Sequence[tuple[str, Sequence[float], str]], colours: Sequence[str],
        label: str) -> str:
    """
    Draw horizontal bars.

    :param rows: name, one value of each run, and the text behind the bars.
    :param colours: one for each value; for a single value one for each row.
    :param label: what is drawn.
    """
    left, right = 240, 190
    thick = 16 if all(len(values) == 1 for _, values, _ in rows) else 9
    pitch = 8 + thick * max((len(values) for _, values, _ in rows), default=1)
    longest = max((max(values) for _, values, _ in rows), default=0) or 1
    parts = []
    for row, (name, values, note) in enumerate(rows):
        top, middle = row * pitch, row * pitch + (pitch - 8) / 2
        shown = text(shortened(name, 36))
        parts.append(f'<text x="{left - 10}" y="{middle + 4:.1f}" text-anchor="end">{shown}'
                     f'<title>{text(name)}</title></text>')
        for place, value in enumerate(values):
            colour = colours[place if len(values) > 1 else row % len(colours)]
            width = max(1, (_WIDTH - left - right) * value / longest) if value else 0
            parts.append(f'<rect x="{left}" y="{top + place * thick}" width="{width:.1f}" '
                         f'height="{thick - (len(values) > 1)}" fill="{colour}"/>')
        end = left + (_WIDTH - left - right) * max(values) / longest
        parts.append(f'<text class="faint" x="{end + 8:.1f}" y="{middle + 4:.1f}">'
                     f'{text(note)}</text>')
    return _svg(len(rows) * pitch, parts, label)


def histogram(
        first: NDArray[np.int64], second: Optional[NDArray[np.int64]], label: str) -> str:
    """
    Draw how many answers have which score, as shares of all.

    :param first: int64 (bins,), of equal parts from 0 to 1; drawn as columns.
    :param second: likewise of the run that it is compared with, drawn as a line.
    :param label: what is drawn.
    """
    left, top, height, bottom, width = 52, 12, 200, 40, 640
    shares = [one / max(1, one.sum()) for one in (first, second) if one is not None]
    most = max(float(one.max()) for one in shares) or 1.0
    step = next(one for one in (.01, .02, .05, .1, .2, .25, 1) if most / one <= 5)
    high = step * np.ceil(most / step - 1e-9)
    pitch = width / len(first)
    parts = []
    for tick in np.arange(0, high + step / 2, step).tolist():
        y = top + height * (1 - tick / high)
        parts.append(
            f'<path stroke="{_GRID}" d="M{left} {y:.1f}h{width}"/><text class="faint" '
            f'x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{percent(tick, 0)}</text>')
    for place, share in enumerate(shares[0].tolist()):
        low, end = (100 * one / len(first) for one in (place, place + 1))
        parts.append(
            f'<rect x="{left + place * pitch + 1:.1f}" y="{top + height * (1 - share / high):.1f}"'
            f' width="{pitch - 2:.1f}" height="{height * share / high:.1f}" fill="{FIRST}">'
            f'<title>{low:.0f} to {end:.0f} %: {percent(share)}</title></rect>')
    if second is not None:
        points = ''.join(
            f'{"L" if place else "M"}{left + place * pitch:.1f} '
            f'{top + height * (1 - share / high):.1f}h{pitch:.1f}'
            for place, share in enumerate(shares[1].tolist()))
        parts.append(f'<path d="{points}" fill="none" stroke="{SECOND}" stroke-width="2"/>')
    for tick in range(0, 101, 20):
        parts.append(
            f'<text class="faint" x="{left + width * tick / 100:.1f}" y="{top + height + 18}" '
            f'text-anchor="middle">{tick} %</text>')
    parts.append(
        f'<text class="faint" x="{left + width / 2}" y="{top + height + 36}" '
        'text-anchor="middle">score of the best class</text>')
    return _svg(top + height + bottom, parts, label)


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    body = '\n'.join(parts)
    return (f'<svg viewBox="0 0 {_WIDTH} {height:g}" width="{_WIDTH}" role="img" '
            f'aria-label="{text(label)}">\n{body}\n</svg>')
