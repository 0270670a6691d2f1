"""
The table of figures in README.md, each with a link to where it was measured.

`tools.performance_summary` writes it, so that the README tells what docs/performance.md does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import re
from typing import Any, NamedTuple

from tools.gpu.sitting_results import MLPERF_IMAGES_S, Sitting
from tools.markdown_page import table
from tools.performance_goals import every_goal, NODE_FIGURES_MS, NODE_LIMITS_MS

#: Page faults a frame from which on its memory is given back each time: 6 MB have 1519 pages.
MANY_FAULTS = 1000
_PAGE = 'docs/performance.md'


class _Row(NamedTuple):
    what: str
    ours: str
    beside: str


def figures(realtime: dict[str, Any], sitting: Sitting, node: dict[str, Any]) -> str:
    """
    Return the tables as Markdown, one of a GPU and one of the CPU, with how many goals were met.

    :param realtime: as `python -m bench` writes it.
    :param sitting: what a sitting at a GPU measured.
    :param node: as `tools.gpu.node.bench` writes it.
    """
    every = every_goal(realtime, sitting, node)
    missed = sum(not goal.met for goal in every)
    tensorrt = sitting.steps['machine']['tensorrt'].rpartition('.')[0]
    return '\n'.join([
        f'ResNet-50, TensorRT {tensorrt}; the backend on one '
        f'{_gpu(sitting.steps["machine"]["gpu"])}, the node on one '
        f'{_gpu(node["machine"]["gpu"])}:',
        '', *_table('GPU', [*_backend_rows(sitting), *_node_rows(node)]), '',
        f'{realtime["machine"]["cores"]} CPU cores of a virtual machine, with cameras and '
        'listener in processes of their own:',
        '', *_table('CPU', _cpu_rows(realtime)), '',
        f'{len(every) - missed} of {len(every)} goals are met; '
        f'[the {missed} others]({_PAGE}#goals-that-were-missed) are listed. '
        f'[Every figure]({_PAGE}) was written by a command that you can run.'])


def _gpu(name: str) -> str:
    """Return a GPU's name without its memory and driver, such as NVIDIA H100."""
    return re.sub(r',.*| \d+ ?GB.*', '', name)


def _table(what: str, rows: Iterable[_Row]) -> list[str]:
    return table((what, 'this project', 'beside it'), (
        (row.what, f'**{row.ours}**', row.beside) for row in rows))


def _link(words: str, heading: str) -> str:
    """Return a link to a heading of the page, by its anchor on GitHub."""
    anchor = re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
    return f'[{words}]({_PAGE}#{anchor})'


def _goal(limit: str, met: bool) -> str:
    return f'goal: {limit}, {"met" if met else "**missed**"}'


def _backend_rows(sitting: Sitting) -> Iterator[_Row]:
    def latency(values: Any) -> str:
        return f'{values["p50_ms"]:.2f} / {values["p99_ms"]:.2f} ms'

    yield _Row(
        _link('One image', 'Batch 1: copy in, run, copy out')
        + ' in fp16, copies included, p50 / p99',
        latency(sitting.get('fp16', 'latency', 'ours')),
        f'bare engine {latency(sitting.get("fp16", "latency", "bare_graph"))}, '
        f'`torch.compile` {latency(sitting.torch_get("latency", "compile_b1"))}')

    def rate(value: Any) -> str:
        return f'{value:,.0f} images/s'

    yield _Row(
        _link('Batches of 64', 'Full batches, sustained') + ' in fp16, sustained',
        rate(sitting.get('fp16', 'throughput', 'ours_2_buffers', 'p50_images_s')),
        '`torch.compile` ' + rate(sitting.torch_get(
            'throughput', 'compile_b64_with_copies', 'p50_images_s')))
    # As `resnet_trt quantize` makes it; the benchmark has an experiment that is faster.
    yield _Row(
        _link('Batches of 64', 'Full batches, sustained') + ' in int8, sustained',
        rate(sitting.get('int8', 'throughput', 'ours_2_buffers', 'p50_images_s')),
        f'MLPerf 3.1 as published: {rate(MLPERF_IMAGES_S)}, **not reached**')


def _node_rows(node: dict[str, Any]) -> Iterator[_Row]:
    scenarios = node['scenarios']

    def latency(name: str) -> tuple[str, str]:
        p50, _, p99 = scenarios[name]['figures']['stages_ms']['total']
        return f'{p50:.1f} / {p99:.1f} ms', _node_goal(scenarios, name, 'receive to publish')

    yield _Row(
        _link('Six VGA cameras', 'The whole node on a GPU')
        + ' at 30 Hz, message in to answer out, p50 / p99',
        *latency('rate_fp16_6_VGA_raw'))
    yield _Row(
        _link('One VGA camera', 'The whole node on a GPU') + ', likewise',
        *latency('rate_fp16_1_VGA_raw'))
    yield _Row(
        _link('Six boxes', 'Regions') + ' in each image of one VGA camera, likewise',
        *latency('regions_fp16_1_VGA_raw_6'))
    many = scenarios['regions_fp16_6_VGA_raw_20']
    asked = many['scenario']['regions'] * many['scenario']['cameras'] \
        * many['scenario']['rate_hz']
    answered = many['regions']['answered'] / many['regions']['sent']
    yield _Row(
        _link(f'{asked:,.0f} boxes a second', 'Regions') + ' on six VGA cameras',
        f'{100 * answered:.0f}% answered',
        _goal('all', True) if answered == 1.0
        else 'the limit of one process; the others are counted')
    for size in ('1080p', 'VGA'):
        name = f'rate_fp16_1_{size}_raw'
        goal = _node_goal(scenarios, name, 'source to answer')
        yield _Row(
            _link(f'One {size} camera', 'The whole node on a GPU') + ', camera to answer, p50',
            f'{scenarios[name]["figures"]["source_to_answer_ms"]["p50"]:.1f} ms',
            '; '.join(filter(None, [goal, _in_turns(node, size)])))


def _node_goal(scenarios: dict[str, Any], name: str, what: str) -> str:
    """Return the limits of a figure of the whole node and whether all are met, '' for none."""
    limits = {figure: limit for figure, limit in NODE_LIMITS_MS.get(name, {}).items()
              if figure.endswith(what)}
    met = all(NODE_FIGURES_MS[figure](scenarios[name]['figures']) <= limit
              for figure, limit in limits.items())
    return _goal(', '.join(
        f'{figure.partition(" ")[0]} at most {limit:g} ms' for figure, limit in limits.items()),
        met) if limits else ''


def _in_turns(node: dict[str, Any], size: str) -> str:
    """Return the turns with the plain node; they may be of an older node than the other rows."""
    one = node['scenarios'][f'plain_fp16_1_{size}_raw']
    ours, plain = (
        ', '.join(f'{turn["source_to_answer_ms"]["p50"]:.1f}' for turn in one['turns'][receiver])
        for receiver in ('ours', 'plain'))
    link = _link('in turns', 'Beside the plain node with the same engine')
    return (f'{link} with a plain rclpy node, same engine{older(node, one)}: '
            f'{ours} ms against {plain} ms')


def older(node: dict[str, Any], one: dict[str, Any]) -> str:
    """
    Return a note on the commit of a scenario, '' where it is that of the others.

    :param node: as `tools.gpu.node.bench` writes it.
    :param one: one of its scenarios.
    """
    commit = one.get('commit', node['machine']['commit'])
    return '' if commit == node['machine']['commit'] else f' (at the earlier commit {commit})'


def given_back(cpu: dict[str, Any]) -> str:
    """
    Tell how often the plain node paid for the memory of each frame, which this node keeps.

    :param cpu: figures of the scenario of CPU time.
    :returns: the end of a sentence, '' for never.
    """
    faults = cpu['plain']['page_faults_rounds']
    costly = sum(one > MANY_FAULTS for one in faults)
    return (f'; in {costly} of {len(faults)} rounds the plain node gave the memory of each frame '
            'back to the system' if costly else '')


def _cpu_rows(realtime: dict[str, Any]) -> Iterator[_Row]:
    found = {one['name']: one for one in realtime['scenarios']}

    def link(words: str, name: str) -> str:
        return _link(words, found[name]['title'])

    cpu = found['cpu_per_frame']
    check = next(one for one in cpu['checks'] if one['name'].startswith('CPU per frame'))
    yield _Row(
        link('CPU time of a 1080p frame', 'cpu_per_frame') + ', inference apart',
        f'{cpu["figures"]["ratio"]:.2f} of a plain rclpy node',
        _goal(f'at most {check["limit"]:g}', check['met']) + given_back(cpu['figures']))
    yield _Row(
        link('The same', 'cpu_per_frame_onnxruntime') + ' with EfficientNet-Lite0 in ONNX Runtime',
        f'{found["cpu_per_frame_onnxruntime"]["figures"]["ratio"]:.2f} of a plain rclpy node',
        'inference included on both sides')
    ours, plain = (found['regions']['figures']['regions'][name] for name in ('ours', 'plain'))
    yield _Row(
        link('Ten boxes of each of six VGA cameras', 'regions') + ' at 20 Hz',
        f'{ours["regions_hz"]:,.0f} boxes/s',
        f'plain rclpy node, one by one: {plain["regions_hz"]:,.0f}')
    over = found['overload']['figures']
    yield _Row(
        link('Twice the load', 'overload') + ' that the backend bears',
        f'{over["throughput_hz"] / over["capacity_hz"]:.0%} of its capacity',
        f'oldest answer {over["source_to_answer_curve_ms"][-1]:.0f} ms, `max_age_ms` 200')
    soak = found['soak']
    lost = sum(check['measured'] for check in soak['checks'] if 'cannot account' in check['name'])
    yield _Row(
        link(f'{sum(soak["figures"]["faults"].values())} faults', 'soak')
        + f' in {soak["figures"]["seconds"] / 60:.0f} minutes',
        f'{lost:g} frames lost without a reason', _goal('0', not lost))
