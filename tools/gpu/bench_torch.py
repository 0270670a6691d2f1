"""
Measure PyTorch on the same task: uint8 NHWC in, softmax out, fp16, channels_last, with copies.

Runs under the machine's own Python. Eager and torch.compile(mode='reduce-overhead').
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Callable

import numpy as np
import torch
import torchvision

_ROUNDS = 8
_RUNS = 50


class Deployable(torch.nn.Module):
    """A ResNet-50 with both ends of the deployable contract."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torchvision.models.resnet50(weights=None)
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify uint8 (N, H, W, 3)."""
        # A permuted NHWC tensor is channels_last already.
        x = images.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return torch.softmax(self.network((x - self.mean) / self.std).float(), dim=1)


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--frames', type=Path, required=True, help='.npy of uint8 frames')
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    frames = np.load(arguments.frames)
    eager = Deployable().half().cuda().eval().to(memory_format=torch.channels_last)
    compiled = torch.compile(eager, mode='reduce-overhead', dynamic=False)
    result: dict[str, Any] = {
        'torch': torch.__version__, 'gpu': torch.cuda.get_device_name(), 'latency': {},
        'throughput': {}, 'ceilings': ceilings()}
    with torch.inference_mode():
        for name, network in (('eager', eager), ('compile', compiled)):
            for batch in (1, 64):
                measure(name, network, batch, frames, result)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1), encoding='utf-8')
    print(json.dumps(result))


def ceilings() -> dict[str, float]:
    """Return what the device reaches at best: arithmetic in fp16 and int8, and memory."""
    def per_second(amount: float, run: Callable[[], Any]) -> float:
        rates = []
        for number in range(15):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            torch.cuda.synchronize()
            if number >= 5:
                rates.append(amount * 1e3 / start.elapsed_time(end))
        return float(np.median(rates))

    side = 8192
    half = torch.randn((2, side, side), device='cuda', dtype=torch.float16)
    small = torch.randint(-128, 128, (2, side, side), device='cuda', dtype=torch.int8)
    big = torch.empty((2, 1 << 30), device='cuda', dtype=torch.uint8)
    return {
        'fp16_flops_s': per_second(2 * side ** 3, lambda: half[0] @ half[1]),
        # The second matrix by columns, as the library's int8 kernels want it.
        'int8_flops_s': per_second(2 * side ** 3, lambda: torch._int_mm(small[0], small[1].t())),
        'bytes_s': per_second(2 * big[0].nbytes, lambda: big[0].copy_(big[1]))}


def measure(
        name: str, network: Callable[[torch.Tensor], torch.Tensor], batch: int,
        frames: np.ndarray, result: dict[str, Any]) -> None:
    """Time one network at one batch size."""
    host = torch.from_numpy(frames[np.arange(batch) % len(frames)]).pin_memory()
    answer = torch.empty((batch, 1000), pin_memory=True)
    device = torch.empty_like(host, device='cuda')

    def queue() -> None:
        # Without waiting: the stream overlaps nothing, but the CPU runs ahead.
        device.copy_(host, non_blocking=True)
        answer.copy_(network(device), non_blocking=True)

    def run() -> None:
        queue()
        torch.cuda.synchronize()

    for _ in range(20):
        run()
    took = []
    for _ in range(_ROUNDS):
        for _ in range(_RUNS):
            start = perf_counter_ns()
            run()
            took.append((perf_counter_ns() - start) / 1e6)
    result['latency'][f'{name}_b{batch}'] = {
        'runs': len(took), 'p50_ms': float(np.percentile(took, 50)),
        'p99_ms': float(np.percentile(took, 99))}
    for what, once in (('gpu_only', lambda: network(device)), ('with_copies', queue)):
        rates = []
        for _ in range(5):
            start = perf_counter_ns()
            for _ in range(50):
                once()
            torch.cuda.synchronize()
            rates.append(50 * batch * 1e9 / (perf_counter_ns() - start))
        result['throughput'][f'{name}_b{batch}_{what}'] = {
            'rounds': 5, 'p50_images_s': float(np.median(rates))}


if __name__ == '__main__':
    main()
