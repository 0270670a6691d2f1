"""
Write the first and the last section of docs/performance.md, and README.md's, from their JSON.

The first says what is reached, beside what a reader would compare it with; the last what this
project aimed at and missed; README.md has a short form of both. All follow from
docs/performance/*.json, so whoever measures one part calls this afterwards, and nothing is typed
by hand.

Usage: python3 -m tools.performance_summary docs
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import sys
from typing import Any, NamedTuple, Optional

from tools.gpu.sitting_results import MLPERF_IMAGES_S, Sitting
from tools.markdown_page import has_section, read_json, table, write_section
from tools.performance_goals import goals
from tools.readme_figures import figures, given_back, older

#: Published by TIER IV for its traffic-light classifier, see its model page (AWML).
_AWML = 'TIER IV AWML, MobileNetV2, six crops on an RTX 3090, as published: p99 8.0 ms'
_COMMAND = 'tools/performance_summary.py from the JSON of the other sections'


class Row(NamedTuple):
    """
    One line of the table.

    :param what: what was measured, and where.
    :param ours: this project's figure.
    :param beside: figures to compare it with, each with its name.
    """

    what: str
    ours: str
    beside: str


def summary(
        realtime: dict[str, Any], sitting: Sitting, tvm: Optional[dict[str, Any]],
        node: Optional[dict[str, Any]] = None) -> str:
    """
    Return the first section as Markdown.

    :param realtime: as `python -m bench` writes it.
    :param sitting: what a sitting at a GPU measured.
    :param tvm: the comparison of TVM with TensorRT, None if there is none.
    :param node: as `tools.gpu.node.bench` writes it, None if there is none.
    """
    rows = [*_gpu_rows(sitting), *_tvm_rows(tvm), *_whole_node_rows(node), *_node_rows(realtime)]
    gpu = sitting.steps.get('machine', {}).get('gpu', 'a GPU')
    machine = realtime['machine']
    return '\n'.join([
        '## What it reaches', '',
        f'Backend: ResNet-50, 224x224, TensorRT {sitting.get("machine", "tensorrt")} on one '
        f'{gpu}, all variants in one run. Node: {machine["cores"]} cores of {machine["cpu"]}; '
        'cameras, node and listener in processes of their own, a backend that takes 5 ms. What '
        'others published was measured on their machines, with their networks.', '',
        *table(['what', 'this project', 'beside it'], (
            (row.what, f'**{row.ours}**', row.beside) for row in rows)), '',
        '![images a second](performance.svg)'])


def _gpu_rows(sitting: Sitting) -> Iterator[Row]:
    def latency(values: Optional[dict[str, Any]]) -> Optional[str]:
        return values and f'{values["p50_ms"]:.3f} / {values["p99_ms"]:.3f} ms'

    ours = latency(sitting.get('fp16', 'latency', 'ours'))
    if ours:
        yield Row('fp16, batch 1, copies included, p50 / p99', ours, _beside({
            'the same engine with nothing around it': latency(
                sitting.get('fp16', 'latency', 'bare_graph')),
            'torch.compile': latency(sitting.torch_get('latency', 'compile_b1')),
            'PyTorch eager': latency(sitting.torch_get('latency', 'eager_b1'))}))

    def rate(value: Optional[float]) -> Optional[str]:
        return value and f'{value:,.0f} images/s'

    ours = rate(sitting.get('fp16', 'throughput', 'ours_2_buffers', 'p50_images_s'))
    if ours:
        yield Row('fp16, batch 64, copies included, sustained', ours, _beside({
            'the same engine without copies': rate(
                sitting.get('fp16', 'throughput', 'bare_gpu_only', 'p50_images_s')),
            'torch.compile': rate(
                sitting.torch_get('throughput', 'compile_b64_with_copies', 'p50_images_s'))}))
    best = sitting.best_int8()
    if best:
        name, fastest = best
        yield Row(f'int8, the fastest engine (`{name}`), sustained', f'{rate(fastest)}', _beside({
            'MLPerf Inference 3.1, H100 SXM, as published': rate(MLPERF_IMAGES_S)}))


def _tvm_rows(tvm: Optional[dict[str, Any]]) -> Iterator[Row]:
    if tvm is None:
        return
    medians = {(row['label'], one['batch_size']): one['p50_ms']
               for row in tvm['comparison']['rows'] for one in row['latency']}
    for (label, batch), ours in medians.items():
        other = medians.get(('fp16 tvm', batch))
        if label == 'fp16 tensorrt' and other:
            yield Row(f'fp16, 160x160, batch {batch}, p50, on an H200', f'{ours:.3f} ms',
                      f'Apache TVM {other:.3f} ms')


def _whole_node_rows(node: Optional[dict[str, Any]]) -> Iterator[Row]:
    found = node['scenarios'] if node else {}
    if six := found.get('rate_fp16_6_VGA_raw'):
        p50, _, p99 = six['figures']['stages_ms']['total']
        yield Row('the whole node on an H200, ResNet-50 fp16, six VGA cameras at 30 Hz: message '
                  'in to answer out, p50 / p99', f'{p50:.2f} / {p99:.2f} ms', _AWML)
    if few := found.get('regions_fp16_1_VGA_raw_6'):
        p50, _, p99 = few['figures']['stages_ms']['total']
        yield Row('six regions of one VGA frame at 30 Hz, likewise, p50 / p99',
                  f'{p50:.2f} / {p99:.2f} ms', _AWML)
    if steps := found.get('regions_limit_fp16_6_VGA_raw_20', {}).get('steps'):
        whole = [step['regions_hz'] for step in steps
                 if step['answered'] == step['sent'] and not step['cameras_skipped']]
        if whole:
            yield Row('the same, six VGA cameras at 30 Hz: regions a second without a loss',
                      f'{whole[-1]:,.0f}', '-')
    if node and (beside := found.get('plain_fp16_1_1080p_raw')):
        ours, plain = (
            ', '.join(f'{turn["source_to_answer_ms"]["p50"]:.1f}'
                      for turn in beside['turns'][receiver])
            for receiver in ('ours', 'plain'))
        yield Row('the same with one 1080p camera: camera to answer, p50 of each turn'
                  + older(node, beside),
                  f'{ours} ms', f'a plain rclpy node with the same engine: {plain} ms')


def _node_rows(realtime: dict[str, Any]) -> Iterator[Row]:
    figures = {one['name']: one['figures'] for one in realtime['scenarios']}
    if idle := figures.get('added_latency'):
        p50, _, p99 = idle['stages_ms']['added']
        yield Row('one VGA camera at 30 Hz: time in the node but inference, p50 / p99',
                  f'{p50:.2f} / {p99:.2f} ms', '-')
    if six := figures.get('six_cameras'):
        p50, _, p99 = six['stages_ms']['total']
        yield Row('six VGA cameras at 30 Hz, batched: message in to answer out, p50 / p99',
                  f'{p50:.1f} / {p99:.1f} ms', _AWML)
    if regions := figures.get('regions'):
        ours, plain = (regions['regions'][receiver] for receiver in ('ours', 'plain'))
        yield Row('ten regions of each of six VGA cameras at 20 Hz, a backend of 5 ms and 0.3 ms '
                  'a region: regions answered a second', f'{ours["regions_hz"]:.0f}',
                  f'a plain rclpy node, one by one: {plain["regions_hz"]:.0f}')
    if cpu := figures.get('cpu_per_frame'):
        yield Row('CPU time of a 1080p frame', f'{cpu["ours"]["cpu_ms"]:.1f} ms', _beside({
            'a plain rclpy node': f'{cpu["plain"]["cpu_ms"]:.1f} ms',
            'a node that only receives': f'{cpu["bare"]["cpu_ms"]:.1f} ms'}) + given_back(cpu))
    if over := figures.get('overload'):
        yield Row(
            'twice the load that the backend bears: answers, oldest answer',
            f'{100 * over["throughput_hz"] / over["capacity_hz"]:.0f} % of its capacity, '
            f'{over["source_to_answer_curve_ms"][-1]:.0f} ms', '`max_age_ms` is 200')
    for name in ('soak_default', 'soak'):
        if soak := figures.get(name):
            lost = sum(check['measured'] for one in realtime['scenarios'] if one['name'] == name
                       for check in one['checks'] if 'cannot account' in check['name'])
            yield Row(
                f'{sum(soak["faults"].values())} faults in {soak["seconds"] / 60:.0f} minutes: '
                'frames without an answer or a counted reason', f'{lost:g}', '-')
            return


def _beside(others: dict[str, Optional[str]]) -> str:
    return '; '.join(f'{name}: {value}' for name, value in others.items() if value) or '-'


def write_summary(docs: Path) -> None:
    """
    Write all sections; without the JSON of a benchmark or of a sitting there is none.

    :param docs: the folder of performance.md, beside README.md.
    """
    realtime, gpu, tvm, node = (
        read_json(path) if path.exists() else None
        for path in (docs / 'performance' / name for name in (
            'realtime.json', 'gpu.json', 'compare/tvm.json', 'gpu_node.json')))
    if realtime is None or gpu is None:
        return
    sitting = Sitting(gpu)
    page = docs / 'performance.md'
    write_section(page, 'summary', summary(realtime, sitting, tvm, node), _COMMAND)
    write_section(page, 'goals', goals(realtime, sitting, node), _COMMAND)
    readme = docs.parent / 'README.md'
    # Not into a README that is beside other folders of results.
    if node is not None and readme.exists() and has_section(readme, 'figures'):
        write_section(readme, 'figures', figures(realtime, sitting, node), _COMMAND)


if __name__ == '__main__':
    write_summary(Path(sys.argv[1]))
