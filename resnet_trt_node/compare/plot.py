"""The distributions of latencies as a picture, from a comparison's document."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import Any, Optional

from resnet_trt_node.text.fitting import shortened
from resnet_trt_node.text.plot_text import log_ticks, three_digits
from resnet_trt_node.text.printable import printable

#: A box is the middle half, whiskers go to p1 and p99.
_BOX = {'whislo': 1, 'q1': 25, 'med': 50, 'q3': 75, 'whishi': 99}
_LONGEST_LABEL, _LONGEST_TITLE = 36, 90
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
    figure = Figure(figsize=(8.0, 1.3 + (0.7 + 0.36 * len(rows)) * len(sizes)))
    axes = figure.subplots(len(sizes), 1, squeeze=False)
    figure.suptitle(title_of(document), fontsize=11, parse_math=False)
    for place, (axis, size) in enumerate(zip(axes[:, 0], sizes)):
        _panel(axis, rows, place)
        axis.set_title(f'batch {size}', fontsize=10, loc='left')
    axes[-1, 0].set_xlabel(
        'ms for a batch, logarithmic; box: middle half, whiskers: p1 and p99, number: median',
        fontsize=9)
    figure.tight_layout()
    picture = BytesIO()
    figure.savefig(picture, format='png', dpi=110, metadata={'Software': None})
    return picture.getvalue()


def title_of(document: dict[str, Any]) -> str:
    """Return which networks were measured on which frames, for the title of a picture."""
    networks = dict.fromkeys(
        f'{model["architecture"] or model["name"]} {model["input"][1]}x{model["input"][0]}'
        for model in document['models'])
    return shortened(printable(
        f'Latency of {", ".join(networks)}; frames: {document["source"]}'), _LONGEST_TITLE)


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
            three_digits(curve[50]), (curve[_BOX['whishi']], number), xytext=(6, 0),
            textcoords='offset points', va='center', fontsize=9)
    # A name of dollars is no formula.
    axis.set_yticks(
        range(len(rows)),
        [shortened(printable(row['label']), _LONGEST_LABEL) for row in rows], parse_math=False)
    axis.set_xscale('log')
    low, high = min(curve[1] for curve in curves), max(curve[99] for curve in curves)
    # Room for the number beside the last box.
    margin = max(1.02, (high / low) ** 0.12)
    axis.set_xlim(low / margin, high * margin)
    axis.set_xticks(*log_ticks(*axis.get_xlim()))
    axis.minorticks_off()
    axis.tick_params(axis='x', labelsize=9)
    axis.grid(axis='x', alpha=0.3)
    # The first on top, as in the table.
    axis.invert_yaxis()
    axis.spines[['top', 'right']].set_visible(False)
