"""
Try Apache TVM on an NVIDIA GPU step by step, and measure ResNet-50 there.

Every step prints one line, 'ok' or 'FAILED' with the reason, and the JSON is written after each,
so that one try tells as much as possible. Needs apache-tvm, onnx, onnxruntime, and nvcc or
cuda-bindings with CUDA's headers. Usage:

    python3 -m tools.gpu.tvm_cuda --models resnet50_fp32.onnx resnet50_fp16.onnx --out tvm.json
"""

from __future__ import annotations

import argparse
from itertools import product
import json
import os
from pathlib import Path
import platform
import sys
from time import monotonic, perf_counter
import traceback
from typing import Any, Callable, Optional

import numpy as np

from resnet_trt_node.backends.tvm import cuda as tvm_cuda
from resnet_trt_node.backends.tvm import gpu as tvm_gpu
from resnet_trt_node.backends.tvm.runtime import load_tvm
from resnet_trt_node.contract.model_file import load_model, spec_of
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

_ROUNDS = 5
_RUNS = 40
#: Probabilities below it are taken for it before they are compared as logarithms.
_LEAST = 1e-30
#: Fields of dlight's Matmul.Config: threads across and down, results of a thread, depth of a tile.
_CONFIGS = [
    {'block_size_x': x, 'block_size_y': y, 'micro_size_x': mx, 'micro_size_y': my,
     'micro_size_k': k, 'vector_size': vector}
    for (x, y), (mx, my), (k, vector) in product(
        [(8, 16), (16, 16), (8, 8), (16, 8)], [(4, 4), (8, 4), (8, 8), (2, 4)],
        [(16, 2), (8, 4), (32, 2)])]


class Report:
    """What was found, in a file that is written after every step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.values: dict[str, Any] = {'python': platform.python_version(), 'steps': {}}

    def step(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Run a step; print and note how it ended; return its result, None if it failed."""
        start = monotonic()
        try:
            result = call(*arguments)
        except Exception as error:  # noqa: B902  the point is to learn what fails
            lines = str(error).strip().splitlines() or [repr(error)]
            note = f'FAILED: {type(error).__name__}: {lines[0][:300]} ... {lines[-1][:500]}'
            traceback.print_exc(limit=-6)
            result = None
        else:
            note = 'ok' if result is None else f'ok: {str(result)[:300]}'
        print(f'[{monotonic() - start:7.1f} s] {name}: {note}', flush=True)
        self.values['steps'][name] = note
        self.save()
        return result

    def save(self) -> None:
        """Write the file."""
        self._path.write_text(json.dumps(self.values, indent=1, default=str))


def main() -> None:
    """Try, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', type=Path, nargs='+', required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--frames', type=Path, help='npy, uint8 (N, H, W, 3); else drawn')
    parser.add_argument('--sizes', type=int, nargs='+', default=[1, 64])
    parser.add_argument('--tune-minutes', type=float, default=0.0,
                        help='for each model: try tilings of each product at each size')
    arguments = parser.parse_args()
    report = Report(arguments.out)
    report.step('torch, whose wheels bring CUDA', _torch)
    tvm = report.step('import tvm', load_tvm)
    if tvm is None:
        sys.exit(1)
    report.values['tvm'] = str(tvm.__version__)
    device = report.step('GPU', tvm_cuda.open_gpu, tvm, 0)
    architecture = 'sm_90' if device is None else report.step(
        'architecture', tvm_cuda.architecture_of, device)
    if device is not None:
        report.values['gpu'] = str(device.device_name)
    compiler = _working_compiler(tvm, report, device, architecture)
    if compiler is None:
        sys.exit(2)
    for path in arguments.models:
        _model(tvm, report, device, architecture, path, arguments)
    sys.exit(0 if device is not None else 3)


def _torch() -> str:
    import torch
    return f'{torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.is_available()}'


def _working_compiler(tvm: Any, report: Report, device: Any, architecture: str) -> Optional[str]:
    """Try both compilers on a small kernel; leave the first that works chosen."""
    working = None
    for compiler in ('nvcc', 'nvrtc'):
        os.environ['TVM_CUDA_COMPILE_MODE'] = compiler
        if report.step(f'a kernel with {compiler}', _small_kernel, tvm, device,
                       architecture) is not None:
            working = working or compiler
    if working is not None:
        os.environ['TVM_CUDA_COMPILE_MODE'] = working
        report.values['compiler'] = working
    return working


def _small_kernel(tvm: Any, device: Any, architecture: str) -> str:
    te = tvm.te
    count = tvm.tirx.IntImm('int64', 1 << 16)
    data = te.placeholder((count,), name='data')
    result = te.compute((count,), lambda i: data[i] * 2 + 1, name='result')
    function = te.create_prim_func([data, result]).with_attr('global_symbol', 'main')
    target = tvm_gpu.cuda_target(tvm, architecture)
    with target:
        module = tvm_gpu.schedule_gpu(tvm, tvm.IRModule({'main': function}))
        library = tvm.compile(module, target=target)
        if device is None:
            # Without CUDA TVM keeps the source and compiles nothing.
            from tvm.support.nvcc import compile_cuda
            source = next(part for part in library.mod.imports if part.kind == 'cuda')
            compile_cuda(source.inspect_source(), 'cubin', architecture,
                         compiler=os.environ['TVM_CUDA_COMPILE_MODE'])
            return 'compiled, not run'
    values = np.arange(1 << 16, dtype=np.float32)
    there = tvm.runtime.tensor(values, device)
    answer = tvm.runtime.empty(values.shape, 'float32', device)
    library['main'](there, answer)
    np.testing.assert_allclose(answer.numpy(), values * 2 + 1)
    return 'compiled, ran, right'


def _model(
        tvm: Any, report: Report, device: Any, architecture: str, path: Path,
        arguments: argparse.Namespace) -> None:
    spec = spec_of(load_model(path))
    found = report.values.setdefault('models', {})[path.stem] = {'precision': spec.precision}
    target = tvm_gpu.cuda_target(tvm, architecture)
    frames = np.load(arguments.frames)[:max(arguments.sizes)] if arguments.frames else \
        sample_frames(max(arguments.sizes), spec.height, spec.width)
    module = report.step(f'{path.stem}: import', _import, tvm, target, path, arguments.sizes)
    if module is None:
        return
    choices: dict[str, dict[str, int]] = {}
    for tuned in (False, True) if arguments.tune_minutes and device is not None else (False,):
        label = f'{path.stem}{" tuned" if tuned else ""}'
        if tuned:
            choices = report.step(f'{label}: search', _search, tvm, module.value, target, device,
                                  arguments.tune_minutes * 60) or {}
            found['tilings'] = choices
        executable = report.step(
            f'{label}: compile', _compile, tvm, module.value, target, choices)
        if executable is None or device is None:
            continue
        machine = report.step(f'{label}: load', _start, tvm, executable.value, device)
        if machine is None:
            continue
        results = found.setdefault('tuned' if tuned else 'untuned', {})
        for size in arguments.sizes:
            results[str(size)] = report.step(
                f'{label}: batch {size}', _measure, tvm, machine.value[f'batch_{size}'], device,
                path, frames[:size])
    report.save()


class _Quiet:
    """A result that is not worth printing."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return 'done'


def _import(tvm: Any, target: Any, path: Path, sizes: list[int]) -> _Quiet:
    with target, tvm.transform.PassContext(opt_level=3):
        return _Quiet(tvm_gpu.gpu_module(tvm, lambda: load_model(path), sizes, True, str(path)))


def _compile(
        tvm: Any, module: Any, target: Any, choices: dict[str, dict[str, int]]) -> _Quiet:
    with target, tvm.transform.PassContext(opt_level=3):
        scheduled = tvm_gpu.schedule_gpu(tvm, module, lambda name: choices.get(name, {}))
    return _Quiet(tvm_gpu.build_gpu(tvm, scheduled, target))


def _start(tvm: Any, executable: Any, device: Any) -> _Quiet:
    return _Quiet(tvm.relax.VirtualMachine(executable, device))


def _measure(
        tvm: Any, function: Any, device: Any, path: Path,
        frames: np.ndarray) -> dict[str, Any]:
    """Compare with ONNX Runtime on the CPU, then time with and without the copies."""
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    wanted, = session.run(None, {'images': frames})
    there = tvm.runtime.empty(frames.shape, 'uint8', device)

    def whole() -> Any:
        return function(there.copyfrom(frames)).numpy()

    def inside() -> None:
        function(there)
        device.sync()

    found = whole()
    times: dict[str, list[float]] = {'whole': [], 'inside': []}
    for _ in range(_ROUNDS):
        for name, call in (('whole', whole), ('inside', inside)):
            call()
            for _ in range(_RUNS):
                start = perf_counter()
                call()
                times[name].append((perf_counter() - start) * 1e3)
    return {
        'largest_difference': float(np.abs(found - wanted).max()),
        # Networks of random weights are so sure that a wrong answer may differ by 1e-6 only.
        'largest_log_difference': float(np.abs(
            np.log(np.maximum(found, _LEAST)) - np.log(np.maximum(wanted, _LEAST))).max()),
        'same_top1': float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        **{f'{name}_p{rank}_ms': round(float(np.percentile(values, rank)), 3)
           for name, values in times.items() for rank in (50, 99)}}


def _search(
        tvm: Any, module: Any, target: Any, device: Any,
        seconds: float) -> dict[str, dict[str, int]]:
    """Time tilings of each product, those that take longest first, and return the fastest."""
    deadline = monotonic() + seconds
    functions = {
        name.name_hint: function for name, function in module.functions.items()
        if isinstance(function, tvm.tirx.PrimFunc) and name.name_hint.startswith('fused_conv')}
    best: dict[str, tuple[float, dict[str, int]]] = {}
    for name, function in functions.items():
        best[name] = _seconds(tvm, function, target, device, {}), {}
    first = sum(taken for taken, _ in best.values())
    tried = 0
    for config in _CONFIGS:
        for name in sorted(functions, key=lambda name: -best[name][0]):
            if monotonic() > deadline:
                break
            taken = _seconds(tvm, functions[name], target, device, config)
            tried += 1
            if taken < best[name][0]:
                best[name] = taken, config
    print(f'    {tried} tilings of {len(functions)} products: {first * 1e3:.2f} -> '
          f'{sum(taken for taken, _ in best.values()) * 1e3:.2f} ms')
    return {name: config for name, (_, config) in best.items() if config}


def _seconds(
        tvm: Any, function: Any, target: Any, device: Any, config: dict[str, int]) -> float:
    """Return what a product takes with a tiling, infinity if it cannot be compiled or run."""
    function = function.with_attr('global_symbol', 'main')
    try:
        with target, tvm.transform.PassContext(opt_level=3):
            module = tvm_gpu.schedule_gpu(
                tvm, tvm.IRModule({'main': function}), lambda name: config)
            library = tvm.compile(module, target=target)
        arguments = []
        for parameter in function.params:
            shape = [int(side) for side in parameter.shape]
            arguments.append(tvm.runtime.tensor(
                np.ones(shape, str(parameter.dtype)), device))
        timer = library.mod.time_evaluator('main', device, number=3, repeat=3)
        return float(min(timer(*arguments).results))
    except (RuntimeError, ValueError, TypeError):
        return float('inf')


if __name__ == '__main__':
    main()
