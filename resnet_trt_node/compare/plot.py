"""The distributions of latencies as a picture, from a comparison's document."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import Any, Optional

from resnet_trt_node.printable import printable

#: A box is the middle half, whiskers go to p1 and p99.
_BOX = {'whislo': 1, 'q1': 25, 'med': 50, 'q3': 75, 'whishi': 99}
_COLOURS = ('#4c72b0', '#dd8452', '#55a868', '#c44e52', '#8172b3', '#937860')


def draw(document: dict[str, Any]) -> Optional[bytes]:
    """
    Draw a box for each row and batch size.

    :param document: as `Session.run` returns it.
    :returns: a PNG, None without matplotlib.
    """
    if find_spec('matplotlib') is None:
        return None
    from matplotlib.figure import Figure
    sizes, rows = document['plan']['batch_sizes'], document['rows']
    figure = Figure(figsize=(8.0, 0.9 + (0.7 + 0.42 * len(rows)) * len(sizes)))
    axes = figure.subplots(len(sizes), 1, squeeze=False)
    for place, (axis, size) in enumerate(zip(axes[:, 0], sizes)):
        _panel(axis, rows, place)
        axis.set_title(f'batch {size}', fontsize=10, loc='left')
    axes[-1, 0].set_xlabel('ms, logarithmic: p1, middle half, p99; the number is the median')
    figure.tight_layout()
    picture = BytesIO()
    figure.savefig(picture, format='png', dpi=110, metadata={'Software': None})
    return picture.getvalue()


def _panel(axis: Any, rows: list[dict[str, Any]], place: int) -> None:
    curves = [row['latency'][place]['curve_ms'] for row in rows]
    boxes = axis.bxp(
        [{**{name: curve[share] for name, share in _BOX.items()}, 'fliers': []}
         for curve in curves],
        positions=range(len(rows)), widths=0.6, orientation='horizontal', patch_artist=True,
        showfliers=False, medianprops={'color': 'black'})
    for number, box in enumerate(boxes['boxes']):
        box.set_facecolor(_COLOURS[number % len(_COLOURS)])
    for number, curve in enumerate(curves):
        axis.annotate(
            f'{curve[50]:.3g}', (curve[_BOX['whishi']], number), xytext=(6, 0),
            textcoords='offset points', va='center', fontsize=8)
    # A name of dollars is no formula.
    axis.set_yticks(
        range(len(rows)), [printable(row['label'], 60) for row in rows], parse_math=False)
    axis.set_xscale('log')
    low, high = min(curve[1] for curve in curves), max(curve[99] for curve in curves)
    axis.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
    # Between the powers of ten there is room for numbers only where there are few of them.
    narrow = high < 5 * low
    axis.xaxis.set_minor_formatter(
        lambda value, _: f'{value:g}' if narrow or f'{value:e}'[0] in '25' else '')
    axis.tick_params(axis='x', which='both', labelsize=8)
    axis.margins(x=0.12)
    # The first on top, as in the table.
    axis.invert_yaxis()
    axis.spines[['top', 'right']].set_visible(False)
