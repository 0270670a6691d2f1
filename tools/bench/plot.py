"""One picture of a run: CPU per frame, latencies, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from resnet_trt_node.text.plot_text import three_digits

_COLOURS = {
    'receive': '#4c72b0', 'convert': '#dd8452', 'resize': '#55a868', 'normalise': '#c44e52',
    'infer': '#8172b3', 'publish': '#937860'}
_TITLES = {'added_latency': 'one camera, idle', 'six_cameras': 'six cameras, 30 Hz',
           'overload': 'twice the capacity', 'overload_tight': 'the same, max_age_ms 150',
           'regions': 'six cameras, 10 regions each'}


def draw(results: dict[str, Any], path: Path) -> bool:
    """
    Draw what was measured.

    :param results: as in the JSON.
    :param path: the PNG to write.
    :returns: whether it was; not without matplotlib or anything to draw.
    """
    try:
        import matplotlib
    except ImportError:
        print('      no plot: matplotlib is not installed')
        return False
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figures = {one['name']: one['figures'] for one in results['scenarios']}
    panels = [(name, panel) for name, panel in (
        ('cpu_per_frame', _cpu), ('latency', _latency), ('soak', _memory),
        ('soak_default', _memory))
        if name in figures or (name == 'latency' and _TITLES.keys() & figures.keys())]
    if not panels:
        return False
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(4.2 * len(panels), 4.0), squeeze=False)
    machine = results['machine']
    figure.suptitle(
        f'classifier_node on {machine["cores"]} cores of {machine["cpu"]}, simulated backend',
        fontsize=11)
    for axis, (name, panel) in zip(axes[0], panels):
        panel(axis, figures if name == 'latency' else figures[name])
        axis.spines[['top', 'right']].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={'Software': None})
    pyplot.close(figure)
    return True


def _cpu(axis: Any, figures: dict[str, Any]) -> None:
    bars = {'plain node': figures['plain'], 'this node': figures['ours'],
            'only receives': figures['bare']}
    for place, bar in enumerate(bars.values()):
        bottom = 0.0
        for stage, spent in bar.get('stages_ms', {'receive': bar['cpu_ms']}).items():
            height = max(0.0, spent or 0.0)
            axis.bar(place, height, 0.6, bottom, color=_COLOURS[stage],
                     label=stage if not place else None)
            bottom += height
        axis.text(place, bar['cpu_ms'], three_digits(bar['cpu_ms']), ha='center', va='bottom')
    axis.set_xticks(range(len(bars)), list(bars))
    axis.set_ylim(0, 1.5 * max(bar['cpu_ms'] for bar in bars.values()))
    axis.set_ylabel('ms')
    axis.set_title('CPU time of a 1080p frame', fontsize=10)
    axis.legend(fontsize=7, frameon=False, ncols=2)


def _latency(axis: Any, figures: dict[str, Any]) -> None:
    for name, title in _TITLES.items():
        curve = figures.get(name, {}).get('source_to_answer_curve_ms')
        if curve:
            axis.plot(curve, range(0, 101, 2), label=title)
    axis.set_xscale('log')
    ticks = [5, 10, 20, 50, 100, 200]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel('ms, logarithmic')
    axis.set_ylabel('% of answers within')
    axis.set_title('Camera to answer', fontsize=10)
    # Between the curves of an idle node and those of a busy one.
    axis.legend(
        fontsize=7, frameon=False, loc='upper center', bbox_to_anchor=(0.5, -0.2), ncols=2)


def _memory(axis: Any, figures: dict[str, Any]) -> None:
    times, resident, own = zip(*figures['memory_curve'])
    for values, label in ((resident, 'resident'), (own, 'without shared memory and files')):
        axis.plot([time / 60 for time in times], values, label=label)
    axis.set_ylim(0, 1.4 * max(resident))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel('minutes')
    axis.set_ylabel('MiB')
    axis.legend(fontsize=7, frameon=False, loc='upper left')
    axis.set_title('Soak with faults: memory', fontsize=10)
