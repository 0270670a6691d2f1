"""
Write the GPU section of docs/performance.md, and its plot, from the JSON of a sitting.

Comparisons of backends are written too where the folder has some, see `compare_page`.

Usage: python3 -m tools.performance_page gpu.json docs [--notes tools/gpu/notes.md]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

from resnet_trt_node.text.plot_text import three_digits
from tools.compare_page import write_comparisons
from tools.gpu.sitting_results import MLPERF_IMAGES_S, ratio, Sitting
from tools.gpu.targets import targets
from tools.markdown_page import read_json, table, write_section
from tools.performance_summary import write_summary

_FP16, _INT8 = ('fp16', 2), ('int8', 1)
_LATENCY_LEGEND = (
    '`ours` is the backend of the node. `bare` is the same engine with as little around it as '
    'possible ([bare_engine.py](../tools/gpu/bare_engine.py)). `graph` launches everything as '
    'one CUDA graph, as `ours` does for small batches, `enqueue` launch by launch. `asleep` '
    'waits without spinning, `copying` copies the frame where `ours` lets the GPU read the '
    'memory of the host. `fp16_b1` is tuned for one picture alone, the others for 1 and 64.')
_THROUGHPUT_LEGEND = (
    '`int8` has Q/DQ pairs as `resnet_trt quantize` places them, `int8_plain` none on the '
    'shortcuts and before the pooling; `int8_subtract`, an experiment of this benchmark alone, '
    'subtracts the mean and has the rest of the normalisation in the first weights; `b256` is '
    'built for 256 pictures. With copies: the backend with two batches in flight, from memory '
    'of the host and back. GPU only: the bare engine without copies, one batch after the other. '
    'Two batches at a time fill the gaps between the kernels of one: so the ratio can be above '
    '1.')


def _number(value: Optional[float], digits: int) -> str:
    return '-' if value is None else f'{value:,.{digits}f}'


def page(sitting: Sitting, notes: str) -> str:
    """Return the section as Markdown."""
    machine = sitting.steps.get('machine', {})
    lines = [
        '## On a GPU', '',
        'ResNet-50, uint8 NHWC frames in, softmax out, random weights, real photographs; lite0 is '
        'EfficientNet-Lite0 with its ImageNet weights. '
        f'{machine.get("gpu", "?")}, TensorRT {machine.get("tensorrt", "?")}, PyTorch '
        f'{sitting.torch.get("torch", "?")}; all in one sitting, variants in turns. '
        'How to repeat it: [how-to/gpu.md](how-to/gpu.md).', '',
        '### Batch 1: copy in, run, copy out', '',
        _LATENCY_LEGEND, '', *_latency_rows(sitting), '',
        '### Full batches, sustained', '', _THROUGHPUT_LEGEND, '', *_throughput_rows(sitting), '',
        '### Agreement with fp32 on photographs', '', *_accuracy_rows(sitting), '',
        '### The roofline', '', *_roofline(sitting)]
    failed = [f'- {name}: {step["error"]}' for name, step in sitting.steps.items()
              if 'error' in step]
    if failed:
        lines += ['### What failed', '', *failed, '']
    if notes:
        lines += ['### Why', '', notes.strip(), '']
    return '\n'.join(lines)


def _latency_rows(sitting: Sitting) -> list[str]:
    rows = [
        [name, what.replace('_', ' '), _number(numbers['p50_ms'], 3),
         _number(numbers['p99_ms'], 3), str(numbers['runs'])]
        for name, step in sitting.cases().items()
        for what, numbers in step.get('latency', {}).items()]
    rows += [
        ['PyTorch fp16', what[:-3], _number(numbers['p50_ms'], 3), _number(numbers['p99_ms'], 3),
         str(numbers['runs'])]
        for what, numbers in sitting.torch.get('latency', {}).items() if what.endswith('_b1')]
    return table(['engine', 'how', 'p50 ms', 'p99 ms', 'runs'], rows)


def _throughput_rows(sitting: Sitting) -> list[str]:
    rows = []
    for name, step in sitting.cases().items():
        if 'throughput' not in step:
            continue
        rates = {what: numbers['p50_images_s'] for what, numbers in step['throughput'].items()}
        rows.append([
            name, str(step['case']['batch']), str(step['case']['level']),
            f'{step["build_s"]:.0f}', _number(rates['ours_2_buffers'], 0),
            _number(rates['bare_gpu_only'], 0),
            _number(rates['ours_2_buffers'] / rates['bare_gpu_only'], 3)])
    for what in ('eager', 'compile'):
        rates = {key: sitting.torch_get('throughput', f'{what}_b64_{key}', 'p50_images_s')
                 for key in ('with_copies', 'gpu_only')}
        rows.append([
            f'PyTorch fp16 {what}', '64', '-', '-', _number(rates['with_copies'], 0),
            _number(rates['gpu_only'], 0),
            _number(ratio(rates['with_copies'], rates['gpu_only']), 3)])
    return table(['engine', 'batch', 'optimisation level', 'build s', 'with copies, images/s',
                  'GPU only, images/s', 'ratio'], rows)


def _accuracy_rows(sitting: Sitting) -> list[str]:
    rows = []
    for name, step in sitting.cases().items():
        if 'accuracy' in step:
            found = step['accuracy']
            right = f'{100 * found["top1"]:.1f} %' if 'top1' in found else '-'
            rows.append([
                name, str(found['frames']), right, f'{100 * found["top1_agreement"]:.1f} %',
                f'{found["largest_difference"]:.5f}', f'{found["mean_difference"]:.7f}'])
    return table(['engine', 'photographs', 'top-1 right', 'same top-1 as fp32',
                  'largest difference of a probability', 'mean difference'], rows)


def _roofline(sitting: Sitting) -> list[str]:
    ceilings = sitting.torch.get('ceilings')
    if not sitting.layers or not ceilings:
        return ['Not measured.', '']
    flops = sum(layer['flops'] for layer in sitting.layers)
    elements = sum(layer['elements'] for layer in sitting.layers)
    weights = sum(layer['weights'] for layer in sitting.layers)
    lines = [
        f'A picture takes {flops / 1e9:.2f} GFLOP; layer by layer, with element-wise nodes '
        f'merged, {elements / 1e6:.1f} million activations are read or written, and '
        f'{weights / 1e6:.1f} million constants once a batch. The device was seen to do '
        f'{ceilings["fp16_flops_s"] / 1e12:.0f} TFLOP/s in fp16, '
        f'{ceilings["int8_flops_s"] / 1e12:.0f} TOP/s in int8 (8192 x 8192 matrices) and to move '
        f'{ceilings["bytes_s"] / 1e12:.2f} TB/s. The floor is the sum over the layers of the '
        'longer of computing and moving; what stays in the cache between two layers can beat it.',
        '']
    rows = []
    for name, step in sitting.cases().items():
        if 'throughput' not in step:
            continue
        rate, size = _INT8 if name.startswith('int8') else _FP16
        # The layers and ceilings are those of ResNet-50 in fp16 and int8.
        if step['case']['model'].startswith(('fp32', 'lite0')):
            continue
        batch = step['case']['batch']
        floor = sitting.floor(batch, size, rate)
        took = 1e3 * batch / step['throughput']['bare_gpu_only']['p50_images_s']
        rows.append([name, str(batch), _number(floor, 3), _number(took, 3),
                     f'{100 * floor / took:.0f} %' if floor else '-'])
    lines += table(
        ['engine', 'batch', 'floor ms', 'measured ms (GPU only)', 'fraction'], rows) + ['']
    best = sitting.best_int8()
    if best is not None:
        name = best[0]
        lines += [f'The best int8 engine is {name} with {best[1]:,.0f} images/s, '
                  f'{100 * best[1] / MLPERF_IMAGES_S:.0f} % of the {MLPERF_IMAGES_S:,} that '
                  'MLPerf Inference 3.1 publishes for an H100 SXM (int8, offline).', '']
    for name in ('fp16', *([best[0]] if best else [])):
        slowest = sitting.get(name, 'layers_ms', 'slowest')
        if slowest:
            total = sitting.steps[name]['layers_ms']['sum']
            lines += [f'Where the time of {name} goes, each layer timed alone:', '',
                      *table(['layer', 'ms', 'share'], [
                          [f'`{layer[:90]}`', _number(ms, 4), f'{100 * ms / total:.1f} %']
                          for layer, ms in slowest[:12]]), '']
    return lines


def plot(sitting: Sitting) -> str:
    """Return a bar chart of sustained rates as SVG."""
    bars = [(f'{name}, batch {step["case"]["batch"]}',
             step['throughput']['ours_2_buffers']['p50_images_s'])
            for name, step in sitting.cases().items()
            if 'throughput' in step and not name.startswith('lite0')]
    for what in ('eager', 'compile'):
        rate = sitting.torch_get('throughput', f'{what}_b64_with_copies', 'p50_images_s')
        if rate is not None:
            bars.append((f'PyTorch fp16 {what}, batch 64', rate))
    bars.append(('MLPerf 3.1, published', MLPERF_IMAGES_S))
    top = max(rate for _, rate in bars)
    gpu = sitting.steps.get('machine', {}).get('gpu', 'GPU')
    height = 24 * len(bars) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="760" height="{height}" fill="white"/>',
        f'<text x="10" y="20">ResNet-50, 224x224, on one {gpu}: images a second, sustained, '
        'copies included</text>']
    for place, (name, rate) in enumerate(bars):
        y = 34 + 24 * place
        width = 420 * rate / top
        ours = not name.startswith(('PyTorch', 'MLPerf'))
        parts += [
            f'<text x="220" y="{y + 14}" text-anchor="end">{name}</text>',
            f'<rect x="228" y="{y}" width="{width:.1f}" height="18" '
            f'fill="{"#4c9a2a" if ours else "#999999"}"/>',
            f'<text x="{232 + width:.1f}" y="{y + 14}">{three_digits(rate)}</text>']
    return '\n'.join([*parts, '</svg>', ''])


def main() -> None:
    """Write page and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('results', type=Path, help='gpu.json of a sitting')
    parser.add_argument('folder', type=Path, help='where performance.md and .svg go')
    parser.add_argument('--notes', type=Path, help='Markdown that says why targets are missed')
    arguments = parser.parse_args()
    sitting = Sitting(read_json(arguments.results))
    notes = arguments.notes.read_text(encoding='utf-8') if arguments.notes else ''
    write_section(
        arguments.folder / 'performance.md', 'gpu', page(sitting, notes),
        'tools/performance_page.py from the JSON of a sitting')
    (arguments.folder / 'performance.svg').write_text(plot(sitting), encoding='utf-8')
    write_comparisons(arguments.folder)
    write_summary(arguments.folder)
    for target in targets(sitting):
        print(f'{target.verdict:12} {_number(target.value, 3):>8}  {target.what}')


if __name__ == '__main__':
    main()
