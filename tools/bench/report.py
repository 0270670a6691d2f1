"""Outcomes as lines for the terminal, and as a section of docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from bench import BenchError
from bench.figures import Outcome
from bench.plot import draw
from bench.scenarios.cpu_per_frame import RATIO_LIMIT
from bench.scenarios.soak import SLOPE_FROM_S
from markdown_page import table, write_section
from performance_summary import write_summary
from tools.readme_figures import MANY_FAULTS

PLOT = 'performance_realtime.png'
#: The benchmark itself and the kernel take less.
DISTURBED_CORES = 0.25
_MET = {True: 'met', False: 'missed'}


def print_outcome(outcome: Outcome) -> None:
    """Print a scenario's targets."""
    print(f'      {outcome.title}')
    for check in outcome.checks:
        print(f'      {_MET[check.met]:6}  {check.name}: {_value(check.to_json())}, '
              f'target {_limit(check.to_json())}')
    load = outcome.figures.get('load') or outcome.figures.get('ours', {}).get('load')
    if load and load['cores_of_others'] > DISTURBED_CORES:
        print(f'      disturbed: other programs took {load["cores_of_others"]} cores')
    for name in ('ratio', 'balance', 'memory_gained_mib', 'memory_slope_mib_per_hour',
                 'longest_recovery_s', 'complaints'):
        if outcome.figures.get(name):
            print(f'      {name}: {outcome.figures[name]}')
    print(flush=True)


def replaced(results: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """
    Return the results of a whole run with some scenarios of another run in their places.

    :param results: what was measured, as in the JSON.
    :param others: likewise; each of its scenarios remembers where and when it was measured.
    :raises BenchError: if that was a quick run, which is too short for the page.
    """
    if others['quick'] and not results['quick']:
        raise BenchError('a quick run is too short for the page: measure again without --quick')
    machine = others['machine']
    new = {one['name']: {**one, 'measured': {
        'date': others['date'], 'commit': machine['commit'], 'cpu': machine['cpu'],
        'cores': machine['cores']}} for one in others['scenarios']}
    kept = [new.pop(one['name'], one) for one in results['scenarios']]
    return {**results, 'scenarios': [*kept, *new.values()]}


def write_page(results: dict[str, Any], out: Path) -> None:
    """
    Write the section of real time, its plot, and what the page says of all sections.

    :param results: what was measured, as in the JSON.
    :param out: the folder of performance.md.
    """
    plotted = draw(results, out / PLOT)
    write_section(out / 'performance.md', 'real-time', markdown(results, plotted), '`make bench`')
    write_summary(out)


def markdown(results: dict[str, Any], plotted: bool) -> str:
    """Return the section."""
    machine = results['machine']
    lines = [
        '## Real time', '',
        f'Measured on {results["date"]}, {machine["cores"]} cores of {machine["cpu"]}, '
        f'{machine["memory"]}, Python {machine["python"]}, NumPy {machine["numpy"]}, OpenCV '
        f'{machine["opencv-python-headless"]}, transport {machine["transport"]}, '
        f'commit {machine["commit"]}. Cameras, node and listener are processes of their own; '
        '[how-to/benchmark.md](how-to/benchmark.md) says how, and what each figure means.', '']
    if results['quick']:
        lines += ['**A quick run: shorter than the figures deserve.**', '']
    if plotted:
        lines.append(f'![CPU per frame, latencies, memory]({PLOT})')
    for one in results['scenarios']:
        lines += ['', f'### {one["title"][0].upper()}{one["title"][1:]}', '',
                  *_FIGURES.get(one['name'], _latency_figures)(one['figures'])]
        if run := one.get('measured'):
            lines += ['', f'A run of its own on {run["date"]}, {run["cores"]} cores of '
                      f'{run["cpu"]}, commit {run["commit"]}.']
    return '\n'.join(lines)


def _value(check: dict[str, Any]) -> str:
    if check['measured'] is None:
        return 'not measured'
    return f'{check["measured"]:.4g} {check["unit"]}'.rstrip()


def _limit(check: dict[str, Any]) -> str:
    words = 'at least' if check['at_least'] else 'at most'
    return f'{words} {check["limit"]:.4g} {check["unit"]}'.rstrip()


def _load(load: dict[str, Any]) -> str:
    parts = ', '.join(
        f'{name[6:]} {value}' for name, value in load.items()
        if name.startswith('cores_') and name not in ('cores_busy', 'cores_of_others'))
    disturbed = ('**Disturbed: other programs ran beside it.** '
                 if load['cores_of_others'] > DISTURBED_CORES else '')
    return (f'{disturbed}Cores busy: {load["cores_busy"]}, namely {parts}, everything else on the '
            f'machine {load["cores_of_others"]}. Frames that the cameras could not send in time: '
            f'{load["camera_frames_skipped"]}.')


def _cpu_figures(figures: dict[str, Any]) -> list[str]:
    ours, plain, bare = nodes = [figures[name] for name in ('ours', 'plain', 'bare')]
    stages = list(dict.fromkeys(
        stage for node in (plain, ours) for stage in node.get('stages_ms', {})))
    return [
        *table(('ms of CPU a frame', 'this node', 'plain node', 'a node that only receives'), [
            ('all', *(node['cpu_ms'] for node in nodes)),
            *((stage, *(node.get('stages_ms', {}).get(stage) for node in nodes))
              for stage in stages),
            ('page faults a frame', *(node['page_faults'] for node in nodes)),
            ('CPU a second without frames', *(node['idle_ms_per_second'] for node in nodes)),
            ('answered', *(node['answered'] for node in nodes))]), '',
        f'Ratio {figures["ratio"]}; median of {figures["rounds"]} rounds with new processes, '
        f'{figures["seconds_per_turn"]:g} s each: this node {_list(ours["cpu_ms_rounds"])}, '
        f'plain {_list(plain["cpu_ms_rounds"])} ms; page faults '
        f'{_list(ours["page_faults_rounds"])} and {_list(plain["page_faults_rounds"])}. '
        '`receive` is what no other row holds: middleware, deserialising, executor. By thread, '
        f'this node: {_threads(ours["threads_ms"])}; plain: {_threads(plain["threads_ms"])}. '
        + _by_faults(ours, plain) + _floor(plain, bare) + _load(ours['load'])]


def _floor(plain: dict[str, Any], bare: dict[str, Any]) -> str:
    """Return what receiving alone takes of a frame."""
    spent = _list(bare['cpu_ms_rounds'])
    return (
        'A node that receives as this one does, with its executor and memory policy, and answers '
        f'without looking at the frame takes {spent} ms, {bare["cpu_ms"] / plain["cpu_ms"]:.2f} '
        'of what the plain node takes: no node that is given messages by rclpy saves that part'
        + (f', so a ratio of {RATIO_LIMIT:g} is out of reach there. '
           if bare['cpu_ms'] > RATIO_LIMIT * plain['cpu_ms'] else '. '))


def _by_faults(ours: dict[str, Any], plain: dict[str, Any]) -> str:
    """Return the ratio with and without page faults in the plain node, if rounds differ."""
    rounds = list(zip(plain['page_faults_rounds'], plain['cpu_ms_rounds']))
    costly = [spent for faults, spent in rounds if faults > MANY_FAULTS]
    cheap = [spent for faults, spent in rounds if faults <= MANY_FAULTS]
    if not costly or not cheap:
        return ''
    return (
        'Whether glibc gives each frame of the plain node back to the system differs from round '
        'to round: it does unless something lies above the frames in its heap. '
        f'In {len(costly)} of {len(rounds)} rounds it did, and the ratio was '
        f'{ours["cpu_ms"] / median(costly):.2f}, in the others '
        f'{ours["cpu_ms"] / median(cheap):.2f}. ')


def _list(values: list[Any]) -> str:
    return ', '.join(f'{value:g}' for value in values)


def _threads(threads: dict[str, Any]) -> str:
    return ', '.join(f'{name} {spent}' for name, spent in list(threads.items())[:6])


def _latency_figures(figures: dict[str, Any]) -> list[str]:
    answer = figures['source_to_answer_ms']
    lines = [
        *table(('ms', 'p50', 'p95', 'p99'), [
            ('source to answer', answer['p50'], answer['p95'], answer['p99']),
            *((stage, *values) for stage, values in figures['stages_ms'].items())]), '',
        f'{figures["answered"]} of {figures["sent"]} frames answered in {figures["seconds"]:g} s, '
        f'{figures["node_cpu_ms_per_answer"]} ms of CPU for each. {_losses(figures)}'
        + _load(figures['load'])]
    if 'dropped' in figures:
        lines.append(
            f'Throughput {figures["throughput_hz"]} of {figures["capacity_hz"]:g} a second; '
            f'answers per camera {figures["answers_per_camera"]}.')
    return lines


def _memory(figures: dict[str, Any]) -> str:
    """Return how memory grew; the slope of a line through a few minutes says nothing of hours."""
    if figures['seconds'] < SLOPE_FROM_S:
        return 'Too short to tell memory by the hour'
    return f'Memory {figures["memory_slope_mib_per_hour"]} MiB/h'


def _losses(figures: dict[str, Any]) -> str:
    """Return what became of frames that the node did not receive."""
    balance = figures.get('balance')
    if balance is None:
        # Measured before they were counted.
        return ''
    return (
        f'Of {balance["sent"]} sent since the start DDS told that {balance["lost"]} were lost, '
        f'and {balance["lost_silently"]} came while nobody subscribed or the queue was full. ')


def _soak_figures(figures: dict[str, Any]) -> list[str]:
    faults = ', '.join(f'{name} {number} x' for name, number in figures['faults'].items())
    return [
        f'{figures["sent"]} frames sent whole and {figures["broken"]} broken ones, '
        f'{figures["received"]} received, {figures["answered"]} answered. {_losses(figures)}'
        f'Faults: {faults}. '
        f'Longest time from the end of a fault to an answer to every camera: '
        f'{max(figures["longest_recovery_s"].values(), default=0)} s. {_memory(figures)}, threads '
        f'{figures["threads"][0]} -> {figures["threads"][1]}, file descriptors '
        f'{figures["descriptors"][0]} -> {figures["descriptors"][1]}, '
        f'{figures["node_cores"]} cores.',
        *(f'- {complaint}' for complaint in figures['complaints'])]


def _region_figures(figures: dict[str, Any]) -> list[str]:
    ours, plain = (figures['regions'][receiver] for receiver in ('ours', 'plain'))
    rows = {
        'regions answered a second': 'regions_hz', 'regions answered': 'regions_answered',
        'regions sent': 'regions_sent', 'frames answered': 'frames_answered',
        'frames sent': 'frames_sent', 'ms of CPU a region': 'cpu_ms_per_region'}
    lost = ', '.join(f'{name} {count}' for name, count in figures['dropped'].items())
    return [
        *table(('', 'this node', 'plain node'),
               [(row, ours[key], plain[key]) for row, key in rows.items()]
               + [(f'source to answer, {share}, ms', ours['source_to_answer_ms'][share],
                   plain['source_to_answer_ms'][share]) for share in ('p50', 'p95', 'p99')]), '',
        'The plain node matches images and detections by their stamps, crops and infers region by '
        'region in its callback ([plain_regions_node.py](../tools/bench/plain_regions_node.py)); '
        'the backend takes for one region what it takes in this node for a batch of one. '
        f'This node: batches of {figures["mean_batch_size"]} regions on average, at most '
        f'{figures["max_batch_size"]}; frames dropped: {lost or "none"}.', '',
        *_latency_figures({key: value for key, value in figures.items() if key != 'dropped'})]


_FIGURES = {'cpu_per_frame': _cpu_figures, 'cpu_per_frame_onnxruntime': _cpu_figures,
            'regions': _region_figures, 'soak': _soak_figures, 'soak_default': _soak_figures}
