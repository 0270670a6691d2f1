"""
Write the section of docs/performance.md on the whole node on a GPU, from the JSON of `bench`.

Usage: python3 -m tools.gpu.node.page gpu_node.json docs NOTES.md
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
import sys
from typing import Any, Iterable, Optional

from tools.markdown_page import read_json, table, write_section
from tools.performance_summary import write_summary

#: Columns of the first table to the stage's name in the diagnostics.
_STAGES = {
    'receive': 'receive', 'preprocess': 'preprocess', 'wait': 'batch', 'infer': 'infer',
    'publish': 'publish', 'receive to publish': 'total'}
_RATE_HEAD = ('scenario', *_STAGES, 'source to answer', 'CPU a frame', 'sent', 'lost')
_LEGEND = (
    'Milliseconds, p50 / p95 / p99; the stages are of the last 1,000 answers, from the statistics '
    'of the node. `receive` is the wait in the middleware until the executor takes the message, '
    '`wait` that for the backend; `infer` ends when the GPU has finished and the scores are in '
    'memory of the host. `source to answer` is from the stamp of the camera to the listener, in '
    'three processes with one clock: it holds the transport and the conversion to a Python '
    'message, which are no stage. `lost` counts every frame that a camera sent and that has no '
    'answer, whatever the reason, of the whole run with its start.')
_ISAAC = (
    'Isaac ROS 5.0 tells the latency of the first frame of a run, and its node publishes after it '
    'has enqueued the work, without waiting for the GPU. For comparison, of the same runs: the '
    'first answer of each, and receive to publish without the inference of the same frame '
    '(`added`), which is what is left if nobody waits for the GPU.')
_AWAKE = (
    'The same while a process that gives way to every other (SCHED_IDLE) spins on each core, so '
    'that none goes to sleep between two frames; '
    '[awake.py](../tools/gpu/node/awake.py) starts them.')
_REGIONS = (
    'Boxes of 40 to 200 pixels come as `vision_msgs/Detection2DArray` right behind each image, '
    'with its stamp, as from a detector; their places were drawn once for each camera. The '
    'regions of all cameras share batches. `receive to publish` begins when image and boxes are '
    'there and ends when the answers to all regions of the frame are out.')


def markdown(results: dict[str, Any]) -> str:
    """Return the section."""
    machine = results['machine']
    others = sorted({
        one.get('commit', machine['commit']) for one in results['scenarios'].values()}
        - {machine['commit']})
    of_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in sorted(results['scenarios'].values(), key=_place):
        one = {**one, 'older': one.get('commit', machine['commit']) != machine['commit']}
        of_kind[one['scenario']['kind']].append(one)
    backend = next((one['backend'] for one in of_kind['rate']), '')
    lines = [
        '## The whole node on a GPU', '',
        f'ResNet-50 with random weights, {backend}, {machine["gpu"]}, {machine["cores"]} cores of '
        f'{machine["cpu"]}, Python {machine["python"]}, rclpy {machine["rclpy"]}, transport '
        f'{machine["transport"]}, commit {machine["commit"]}{_older(others)}. Cameras at 30 Hz '
        'each, node and listener are processes of their own on that machine; `max_wait_ms` 0, '
        'batches of at most six. `make gpu-bench` repeats it: '
        '[how-to/gpu.md](how-to/gpu.md#the-whole-node).', '']
    if of_kind['rate']:
        lines += [_LEGEND, '', *table(
            _RATE_HEAD, map(_rate_row, of_kind['rate'])), '', *_missed(of_kind['rate']),
            '### As others tell it', '', _ISAAC, '', *table(
                ('scenario', 'first answer', 'added, p50', 'source to answer, p50 / p99'),
                map(_isaac_row, of_kind['rate'])), '']
    if of_kind['awake']:
        lines += [
            '### With cores that do not sleep', '', _AWAKE, '', *table(
                _RATE_HEAD, map(_rate_row, of_kind['awake'])), '', *_missed(of_kind['awake'])]
    if of_kind['plain']:
        lines += [
            '### Beside the plain node with the same engine', '',
            'The plain node does everything in its callback and runs the engine with pycuda '
            '([plain_node.py](../tools/gpu/node/plain_node.py)); in turns, two each, one '
            'camera.', '',
            *table(('scenario', 'node', 'answered of sent', 'source to answer, p50 / p95 / p99',
                    'CPU a frame'), [row for one in of_kind['plain'] for row in _plain_rows(one)]),
            '']
    if of_kind['limit']:
        lines += [
            '### The most that it takes', '',
            'The rate of every camera is raised by half every two seconds until a frame is lost '
            'or the cameras themselves, one Python process, are late.', '',
            *table(('scenario', 'all answered up to', 'source to answer there, p50 / p99',
                    'then'), map(_limit_row, of_kind['limit'])), '']
    if of_kind['regions']:
        lines += ['### Regions', '', _REGIONS, '', *table(
            ('scenario', 'regions answered a second', *_STAGES, 'source to answer',
             'CPU a frame', 'sent', 'lost'), map(_regions_row, of_kind['regions'])), '',
            *_missed(of_kind['regions'])]
    if of_kind['regions_plain']:
        lines += [
            'Beside a plain node that crops and infers region by region in its callback, with the '
            'same engine ([plain_regions_node.py](../tools/bench/plain_regions_node.py)); in '
            'turns, two each.', '',
            *table(('scenario', 'node', 'answered of sent', 'source to answer, p50 / p95 / p99',
                    'CPU a frame'),
                   [row for one in of_kind['regions_plain'] for row in _plain_rows(one)]), '']
    if of_kind['regions_limit']:
        lines += [
            'The number of regions of every frame is raised by half every two seconds until a '
            'frame is lost.', '',
            *table(('scenario', 'all answered up to', 'regions answered a second',
                    'source to answer there, p50 / p99', 'then'),
                   map(_regions_limit_row, of_kind['regions_limit']))]
    return '\n'.join(lines).rstrip()


def _older(commits: list[str]) -> str:
    return f', with * by an earlier one ({", ".join(commits)})' if commits else ''


def page(results: dict[str, Any], notes: str) -> str:
    """Return the section with what people wrote of the results."""
    return f'{markdown(results)}\n\n### Why\n\n{notes.strip()}'


def _place(one: dict[str, Any]) -> tuple[object, ...]:
    scenario = one['scenario']
    return (scenario['jpeg'], scenario['size'] == '1080p', scenario['cameras'],
            scenario['precision'], _regions(one))


def _regions(one: dict[str, Any]) -> int:
    """Return how many regions a frame has; results from before there were any tell none."""
    return int(one['scenario'].get('regions', 0))


def _title(one: dict[str, Any]) -> str:
    scenario = one['scenario']
    form = 'jpeg' if scenario['jpeg'] else 'raw'
    regions = ('' if scenario['kind'] == 'regions_limit' or not _regions(one)
               else f', {_regions(one)} regions')
    older = '*' if one.get('older') else ''
    return (f'{scenario["precision"]}, {scenario["cameras"]} {scenario["size"]} '
            f'{form}{regions}{older}')


def _shares(values: Iterable[Optional[float]]) -> str:
    return ' / '.join('-' if value is None else f'{value:.2f}' for value in values)


def _spread(values: dict[str, float], *names: str) -> str:
    return _shares(values[name] for name in names or ('p50', 'p95', 'p99'))


def _rate_row(one: dict[str, Any]) -> list[object]:
    figures = one['figures']
    stages = figures['stages_ms']
    balance = figures['balance']
    return [
        _title(one),
        *(_shares(stages[name]) if name in stages else None for name in _STAGES.values()),
        _spread(figures['source_to_answer_ms']), f'{figures["node_cpu_ms_per_answer"]:.2f}',
        balance['sent'], balance['sent'] - balance['heard']]


def _regions_row(one: dict[str, Any]) -> list[object]:
    title, *others = _rate_row(one)
    return [title, f'{one["regions"]["answered_hz"]:,.0f}', *others]


def _regions_limit_row(one: dict[str, Any]) -> list[object]:
    whole, last = _whole(one['steps']), one['steps'][-1]
    ended = f'{last["regions"]} regions: {_ended(last)}' if last not in whole else 'not tried'
    if not whole:
        return [_title(one), f'less than {last["regions"]} regions', None, None, ended]
    best = whole[-1]
    return [_title(one), f'{best["regions"]} regions of a frame', f'{best["regions_hz"]:,.0f}',
            _spread(best['source_to_answer_ms'], 'p50', 'p99'), ended]


def _whole(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps of a search in which nothing was lost."""
    return [step for step in steps
            if step['answered'] == step['sent'] and not step['cameras_skipped']]


def _isaac_row(one: dict[str, Any]) -> list[object]:
    figures = one['figures']
    return [_title(one), f'{one["first_answer_ms"]:.2f}',
            f'{figures["stages_ms"]["added"][0]:.2f}',
            _spread(figures['source_to_answer_ms'], 'p50', 'p99')]


def _missed(rates: list[dict[str, Any]]) -> list[str]:
    """Return what was lost by reason, and the checks that failed, where there are any."""
    found = []
    for one in rates:
        told = [f'{check["name"]}: {check["measured"]}'
                for check in one['checks'] if not check['met']]
        told += [f'{name} {count}' for name, count in one['lost'].items() if count]
        if told:
            found.append(f'- {_title(one)}: {", ".join(told)}')
    return [*found, ''] if found else [
        'Every frame is accounted for in every scenario, and every answer was heard once.', '']


def _plain_rows(one: dict[str, Any]) -> list[list[object]]:
    return [[_title(one), {'ours': 'this node', 'plain': 'plain node'}[node],
             f'{turn["answered"]} of {turn["sent"]}', _spread(turn['source_to_answer_ms']),
             f'{turn["cpu_ms_per_answer"]:.2f}']
            for node, turns in one['turns'].items() for turn in turns]


def _limit_row(one: dict[str, Any]) -> list[object]:
    steps = one['steps']
    whole = _whole(steps)
    if not whole:
        return [_title(one), f'less than {steps[0]["rate_hz"]:.0f} Hz', None, _end(steps[-1])]
    return [_title(one), f'{whole[-1]["rate_hz"]:.0f} Hz a camera',
            _spread(whole[-1]['source_to_answer_ms'], 'p50', 'p99'),
            _end(steps[-1]) if steps[-1] is not whole[-1] else 'not tried']


def _end(step: dict[str, Any]) -> str:
    """Return what ended the search for the highest rate."""
    return f'at {step["rate_hz"]:.0f} Hz {_ended(step)}'


def _ended(step: dict[str, Any]) -> str:
    """Return what was lost in the last step of a search."""
    lost = ', '.join(f'{name} {count}' for name, count in step['lost'].items())
    return (f'{step["answered"]} of {step["sent"]} answered'
            + (f' ({lost})' if lost else '')
            + (f', the cameras left out {step["cameras_skipped"]}'
               if step['cameras_skipped'] else ''))


def main() -> None:
    """Write the section."""
    source, docs, notes = map(Path, sys.argv[1:4])
    write_section(docs / 'performance.md', 'gpu-node',
                  page(read_json(source), notes.read_text(encoding='utf-8')),
                  'tools/gpu/node/page.py from docs/performance/gpu_node.json')
    write_summary(docs)


if __name__ == '__main__':
    main()
