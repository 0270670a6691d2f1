"""The steps of `try_lean`; each runs in a process of its own and prints one line of JSON."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
import io
import json
from pathlib import Path
import shutil
import sys
from time import perf_counter_ns
from typing import Any

import numpy as np
from resnet_trt_node.backends.base import Backend, warm_up
from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.engine import EngineSource
from resnet_trt_node.backends.tensorrt.log import TensorRtLog
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.contract.model_file import read_model_spec

_RUNS = 1000
_OPENINGS = 20


class Steps:
    """
    One step: the method that `what` names.

    :param details: what `try_lean` asks for.
    """

    def __init__(self, details: dict[str, Any]) -> None:
        self.asked = details
        self.model = Path(details['model'])
        self.folder = Path(details['folder'])
        self.cache = self.folder / details.get('cache', 'cache')
        self.lines: list[str] = []

    def options(self, **others: Any) -> dict[str, Any]:
        """Return the options of a backend."""
        largest = self.asked['batch_size']
        return {'max_batch_size': largest, 'opt_batch_sizes': tuple(sorted({1, largest})),
                'optimization_level': self.asked['level'], 'engine_dir': self.cache,
                'log': self.lines.append, **others}

    def frames(self) -> np.ndarray[Any, Any]:
        """Return a batch of coarse noise."""
        spec = read_model_spec(self.model)
        coarse = np.random.default_rng(0).integers(
            0, 256, (self.asked['batch_size'], 8, 8, 3), np.uint8)
        large = coarse.repeat(-(-spec.height // 8), axis=1).repeat(-(-spec.width // 8), axis=2)
        return large[:, :spec.height, :spec.width]

    def reference(self) -> dict[str, Any]:
        """Compute the answers that all others are compared with."""
        import onnxruntime
        session = onnxruntime.InferenceSession(
            str(self.model), providers=['CPUExecutionProvider'])
        answer = session.run(None, {'images': self.frames()})[0]
        np.save(self.folder / 'reference.npy', answer)
        return {'top1': answer.argmax(1).tolist(), 'scores': answer.max(1).round(4).tolist()}

    def build(self) -> dict[str, Any]:
        """Build with the command line."""
        from resnet_trt_node.cli.main import main as command
        out, error = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(error):
            code = command([
                'build', str(self.model), '--engine-dir', str(self.cache), '--json',
                '--batch-size', str(self.asked['batch_size']),
                '--optimization-level', str(self.asked['level']),
                *(['--version-compatible'] if self.asked['compatible'] else [])])
        return {'code': code, 'stderr': error.getvalue()[-1200:],
                **(json.loads(out.getvalue()) if code == 0 else {})}

    def run(self) -> dict[str, Any]:
        """Run all batch sizes with CUDA graphs and without, and time them."""
        flavour, frames = self.asked['flavour'], self.frames()
        options = self.options(
            version_compatible=self.asked['compatible'] and flavour == 'tensorrt',
            engine_host_code=self.asked['compatible'])
        expected = np.load(self.folder / 'reference.npy')
        result: dict[str, Any] = {}
        for graphs in (8, 0):
            begun = perf_counter_ns()
            with open_backend(self.model, flavour, cuda_graph_max_batch=graphs,
                              **options) as backend:
                open_ms = (perf_counter_ns() - begun) / 1e6
                warm_up(backend)
                result['graphs' if graphs else 'enqueue'] = {
                    'open_ms': round(open_ms), 'version': backend.info.version,
                    'details': dict(backend.info.details),
                    **compare(backend, frames, expected), 'both_buffers': two_buffers(
                        backend, frames, expected), 'batch_1_ms': percentiles(backend, 1),
                    f'batch_{len(frames)}_ms': percentiles(backend, len(frames))}
        with CudaDevice(0) as device:
            for opening in range(_OPENINGS + 3):
                if opening == 3:
                    before = device.memory_bytes()[0]
                with open_backend(self.model, flavour, **options) as backend:
                    warm_up(backend)
            lost = before - device.memory_bytes()[0]
        return {**result, f'lost_in_{_OPENINGS}_openings_mib': lost / 2**20,
                'log': self.lines[-8:]}

    def wrong(self) -> dict[str, Any]:
        """Open what must not or cannot be opened, and return the errors."""
        pair = self.asked['pair']
        engines, self.cache = self.cache, self.folder / f'wrong {pair}'
        shutil.rmtree(self.cache, ignore_errors=True)
        if pair != 'nothing':
            shutil.copytree(engines, self.cache)
        with CudaDevice(0) as device:
            trt = versions.load_module('tensorrt_lean')
            source = EngineSource(trt, 'tensorrt_lean', self.model, TensorRtOptions(
                **self.options(version_compatible=True)), device)
            path = source.cache.path_of(source.key)
            if pair == 'TensorRT alone':
                with TensorRtLog(trt, self.lines.append) as log:
                    engine = trt.Runtime(log.logger).deserialize_cuda_engine(path.read_bytes())
                    return {'engine': str(engine), 'error': versions.translate(log.explain())}
            if pair == 'plain':
                plain, = set(self.cache.glob('tiny-*.engine')) - {path}
                built = BuiltEngine(plain.read_bytes(), read_model_spec(self.model))
                source.cache.get(
                    replace(source.key, builder='8.6, plain'), lambda timing: built, force=True)
        if pair == 'altered':
            path.write_bytes(path.read_bytes()[:-1])
        elif pair == 'writable':
            path.chmod(0o666)
        # Else `auto` takes that.
        sys.modules['tensorrt'] = None  # type: ignore[assignment]
        try:
            with open_backend(
                    self.model, 'auto' if pair == 'auto' else 'tensorrt_lean',
                    engine_host_code=pair not in ('code not allowed', 'auto'),
                    **self.options()) as backend:
                return {'opened': backend.info.name, 'log': self.lines[-8:]}
        except Exception as error:
            return {'error': f'{type(error).__name__}: {error}', 'log': self.lines[-8:],
                    'quarantined': [file.name for file in self.cache.glob('*.bad')]}


def compare(backend: Backend, frames: Any, expected: Any) -> dict[str, Any]:
    """Return the largest difference and equal top-1 over all batch sizes."""
    worst, same, rows = 0.0, 0, 0
    for size in range(1, len(frames) + 1):
        backend.buffer(size % 2)[:size] = frames[:size]
        answer = backend.infer(size, size % 2)
        worst = max(worst, float(np.abs(answer - expected[:size]).max()))
        same += int((answer.argmax(1) == expected[:size].argmax(1)).sum())
        rows += size
    return {'largest_difference': worst, 'top1_same': f'{same} of {rows}'}


def two_buffers(backend: Backend, frames: Any, expected: Any) -> float:
    """Return the largest difference where two batches are in flight at once."""
    half, worst = len(frames) // 2, 0.0
    for _ in range(50):
        backend.buffer(0)[:half], backend.buffer(1)[:half] = frames[:half], frames[half:2 * half]
        backend.submit(half, 0)
        backend.submit(half, 1)
        worst = max(worst, float(np.abs(backend.collect(0) - expected[:half]).max()),
                    float(np.abs(backend.collect(1) - expected[half:2 * half]).max()))
    return worst


def percentiles(backend: Backend, size: int) -> dict[str, float]:
    """Return p50, p95 and p99 of a batch with its copies, in ms."""
    times = []
    for _ in range(_RUNS):
        start_ns = perf_counter_ns()
        backend.infer(size)
        times.append((perf_counter_ns() - start_ns) / 1e6)
    return {f'p{share}': round(float(np.percentile(times[100:], share)), 4)
            for share in (50, 95, 99)}


if __name__ == '__main__':
    asked = json.loads(sys.argv[1])
    print('RESULT ' + json.dumps(getattr(Steps(asked), asked['what'])()), flush=True)
