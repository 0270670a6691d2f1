"""The steps of the GPU benchmark: one model opened through the backend and measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
import gc
import os
from pathlib import Path
import subprocess
import sys
from time import perf_counter_ns
from typing import Any, Callable

import numpy as np
from resnet_trt_node.backends.tensorrt.backend import TensorRtBackend
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions

#: Steps after the cases, with the seconds they may take.
LAST_STEPS = {'inferences': 120, 'openings': 150}
_ROUNDS = 8
_RUNS = 100
_WARM_UP = 20


@dataclass(frozen=True)
class Case:
    """
    One engine to measure.

    :param model: name of the model file.
    :param batch: largest batch, the one that throughput is measured at.
    :param tuned: batch sizes that the engine is tuned for.
    :param level: optimisation level of the builder.
    :param tf32: let fp32 layers use tf32.
    :param latency: measure batch 1 as well.
    :param reference: the model whose answers by ONNX Runtime the accuracy is held against.
    :param trained: whether it was trained, so that its accuracy on labelled pictures means
        something.
    """

    model: str
    batch: int
    tuned: tuple
    level: int = 3
    tf32: bool = False
    latency: bool = False
    reference: str = 'fp32'
    trained: bool = False


@dataclass(frozen=True)
class Lab:
    """Where things lie: models, frames, and the folder of engines and results."""

    models: Path
    frames: Path
    state: Path

    def model(self, name: str) -> Path:
        """Return a model's path."""
        return self.models / f'{name}.onnx'

    def start(self, case: Case, **options: Any) -> TensorRtBackend:
        """Open a case through the project's backend."""
        chosen = {
            'max_batch_size': case.batch, 'opt_batch_sizes': case.tuned,
            'optimization_level': case.level, 'tf32': case.tf32,
            'engine_dir': self.state / 'engines', 'log': lambda line: print(line, flush=True)}
        return TensorRtBackend(self.model(case.model), TensorRtOptions(**{**chosen, **options}))

    def batch(self, count: int) -> np.ndarray:
        """Return as many frames, uint8 (count, 224, 224, 3), repeating them if need be."""
        frames = np.load(self.frames)
        return frames[np.arange(count) % len(frames)]


def run_machine(lab: Lab) -> dict:
    """Say what the machine is, and how fast it copies from page-locked memory."""
    import pycuda
    import pycuda.driver as cuda
    from resnet_trt_node.backends.cuda.device import CudaDevice, load_graph_driver
    import tensorrt
    with CudaDevice(0, print) as device:
        host = device.host_array((64 << 20,), np.uint8)
        address = device.memory(host.nbytes)
        stream = device.stream()
        rates = {}
        for name, copy in (
                ('host_to_device', lambda: stream.copy_in(address, host)),
                ('device_to_host', lambda: stream.copy_out(host, address))):
            took = []
            for _ in range(10):
                start = perf_counter_ns()
                copy()
                stream.drain()
                took.append(perf_counter_ns() - start)
            rates[f'{name}_gb_s'] = round(host.nbytes / float(np.median(took)), 1)
        free, total = device.memory_bytes()
        return {
            'gpu': device.name, 'compute_capability': device.compute_capability,
            'tensorrt': tensorrt.__version__, 'pycuda': pycuda.VERSION_TEXT,
            'cuda_driver': cuda.get_driver_version(),
            'cuda_graphs': load_graph_driver() is not None,
            'memory_free_mib': free >> 20, 'memory_total_mib': total >> 20, **rates,
            'cpu_cores': os.cpu_count(), 'nvidia_smi': nvidia_smi()}


def nvidia_smi() -> str:
    """Return driver, clocks and power limit, '' where the program is missing."""
    fields = 'driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu'
    try:
        return subprocess.run(
            ['nvidia-smi', f'--query-gpu={fields}', '--format=csv'], check=True,
            stdout=subprocess.PIPE, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ''


def run_case(lab: Lab, case: Case) -> dict:
    """Build or find the engine, then measure everything that the case asks for."""
    from tools.gpu.bare_engine import BareEngine
    result: dict = {'case': asdict(case)}
    with lab.start(case) as backend:
        plan = Path(backend.info.details['engine'])
        # The results are published: where they lay on that machine is nobody's concern.
        result['info'] = {**backend.info.details, 'engine': plan.name}
        result['build_s'] = float(backend.info.details['engine_build_s'])
        frames = lab.batch(case.batch)
        for index in range(backend.num_buffers):
            backend.buffer(index)[:] = frames
        result['accuracy'] = accuracy(lab, case, backend)
        for index in range(backend.num_buffers):
            backend.buffer(index)[:] = frames
        if case.latency:
            with lab.start(case, cuda_graph_max_batch=0) as plain, lab.start(
                    case, blocking_sync=True) as asleep, lab.start(
                    case, zero_copy_max_batch=0) as copying:
                bare = BareEngine(plan, 1, 0, frames)
                result['latency'] = latency({
                    'ours': lambda: backend.infer(1), 'bare_graph': bare.replay,
                    'ours_enqueue': lambda: plain.infer(1), 'bare_enqueue': bare.enqueue,
                    'ours_asleep': lambda: asleep.infer(1),
                    'ours_copying': lambda: copying.infer(1)})
                del bare
        if case.batch > 1:
            bare = BareEngine(plan, case.batch, len(case.tuned) - 1, frames)
            result['throughput'] = throughput(case.batch, {
                'ours_2_buffers': lambda: sustained(backend, case.batch),
                'bare_gpu_only': lambda: bare.device_ms(100) * 1e6})
            layers = bare.layers()
            result['layers_ms'] = {
                'sum': sum(ms for _, ms in layers), 'count': len(layers), 'slowest': layers[:30]}
            del bare
    return result


def accuracy(lab: Lab, case: Case, backend: Any) -> dict:
    """Compare the answers on all photographs with ONNX Runtime's in fp32."""
    reference = np.load(lab.models / f'{case.reference}.npy')
    frames = np.load(lab.frames)
    answers = np.empty_like(reference)
    for start in range(0, len(frames), case.batch):
        part = frames[start:start + case.batch]
        backend.buffer()[:len(part)] = part
        answers[start:start + len(part)] = backend.infer(len(part))
    found = {
        'frames': len(frames),
        'top1_agreement': float((answers.argmax(1) == reference.argmax(1)).mean()),
        'largest_difference': float(np.abs(answers - reference).max()),
        'mean_difference': float(np.abs(answers - reference).mean())}
    labels = lab.frames.with_suffix('.labels.npy')
    if case.trained and labels.exists():
        classes = np.load(labels)
        found['top1'] = float((answers.argmax(1) == classes).mean())
    return found


def latency(runs: dict[str, Callable[[], Any]]) -> dict:
    """Time each function in turn, round after round, so that drift hits all alike."""
    took: dict[str, list[int]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(50):
            run()
    gc.collect()
    gc.disable()
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            # What ran before has left the caches and the processor in another state.
            for _ in range(_WARM_UP):
                run()
            for _ in range(_RUNS):
                start = perf_counter_ns()
                run()
                took[name].append(perf_counter_ns() - start)
    gc.enable()
    return {name: summary(values) for name, values in took.items()}


def summary(values_ns: list[int]) -> dict:
    """Return percentiles of durations, in milliseconds."""
    values = np.array(values_ns) / 1e6
    places = {'p50_ms': 50, 'p90_ms': 90, 'p99_ms': 99}
    return {'runs': len(values), 'min_ms': float(values.min()),
            **{name: float(np.percentile(values, place)) for name, place in places.items()}}


def sustained(backend: Any, batch: int, batches: int = 150) -> float:
    """Return nanoseconds a batch with every buffer in flight, copies included."""
    buffers = backend.num_buffers
    for index in range(buffers):
        backend.submit(batch, index)
    for number in range(20):
        backend.collect(number % buffers)
        backend.submit(batch, number % buffers)
    start = perf_counter_ns()
    for number in range(20, 20 + batches):
        backend.collect(number % buffers)
        backend.submit(batch, number % buffers)
    took = perf_counter_ns() - start
    for number in range(20 + batches, 20 + batches + buffers):
        backend.collect(number % buffers)
    return took / batches


def throughput(batch: int, runs: dict[str, Callable[[], float]]) -> dict:
    """Call each function in turn, round after round; each returns nanoseconds a batch."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(5):
        for name, run in runs.items():
            rates[name].append(batch * 1e9 / run())
    return {name: {'rounds': len(values), 'p50_images_s': float(np.median(values))}
            for name, values in rates.items()}


def run_endurance(lab: Lab, name: str) -> dict:
    """Infer 100,000 times, or open and close 1,000 times, and watch the memory."""
    if name == 'inferences':
        return endurance_of_inferences(lab, 100_000)
    return endurance_of_openings(lab, tiny_case(lab), 1000)


def tiny_case(lab: Lab) -> Case:
    """Write the smallest model there is and return its case."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'test' / 'helpers'))
    from models.tiny_model import write_tiny_model
    return Case(write_tiny_model(lab.models / 'tiny.onnx').stem, 2, (2,), level=0)


def endurance_of_inferences(lab: Lab, count: int) -> dict:
    """Infer batches of 1 to 4 from two buffers."""
    import pycuda.driver as cuda
    samples = []
    with lab.start(Case('fp16', 64, (1, 64))) as backend:
        for index in range(2):
            backend.buffer(index)[:] = lab.batch(64)
        for number in range(count + 1):
            # The first thousand fill caches: graphs are recorded, arenas grow once.
            if number % (count // 20) == 0 or number == 1000:
                samples.append((number, host_bytes(), cuda.mem_get_info()[0]))
            backend.infer(1 + number % 4, number % 2)
    return growth(count, samples, 1000)


def endurance_of_openings(lab: Lab, case: Case, count: int) -> dict:
    """Open, infer each size and buffer once, close."""
    from resnet_trt_node.backends.cuda.device import CudaDevice
    samples = []
    took = []
    with CudaDevice(0, print) as watcher:
        for number in range(count + 1):
            if number % max(1, count // 20) == 0:
                samples.append((number, host_bytes(), watcher.memory_bytes()[0]))
            start = perf_counter_ns()
            with lab.start(case) as backend:
                backend.infer(1, 0)
                backend.infer(case.batch, 1)
            took.append(perf_counter_ns() - start)
    return {**growth(count, samples, samples[2][0]), 'cycle': summary(took)}


def growth(count: int, samples: list, settled: int) -> dict:
    """Compare the last sample with the first after things have settled."""
    first = next(sample for sample in samples if sample[0] >= settled)
    last = samples[-1]
    return {
        'count': count, 'settled_after': first[0],
        'host_growth_mib': round((last[1] - first[1]) / 2**20, 2),
        'device_growth_mib': round((first[2] - last[2]) / 2**20, 2),
        'samples': [
            {'number': number, 'host_mib': round(host / 2**20, 2), 'device_free_mib': free >> 20}
            for number, host, free in samples]}


def host_bytes() -> int:
    """Return the process's resident memory."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
