"""What a sitting at a GPU was to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from tools.gpu.sitting_results import ratio, Sitting


@dataclass(frozen=True)
class Target:
    """
    Something to be reached.

    :param what: in words.
    :param value: what was measured, None if it was not.
    :param limit: what it must be.
    :param at_most: whether lower is better.
    """

    what: str
    value: Optional[float]
    limit: float
    at_most: bool

    @property
    def verdict(self) -> str:
        """Return 'reached', 'missed' or 'not measured'."""
        if self.value is None:
            return 'not measured'
        reached = self.value <= self.limit if self.at_most else self.value >= self.limit
        return 'reached' if reached else 'missed'


def targets(sitting: Sitting) -> list[Target]:
    """Return what was to be reached, with what was measured."""
    # An engine for batch 1 alone, where there is one: profiles cost each other a little.
    latency = ('fp16_b1' if sitting.get('fp16_b1', 'latency') else 'fp16', 'latency')
    p50 = sitting.get(*latency, 'ours', 'p50_ms')
    ours64 = sitting.get('fp16', 'throughput', 'ours_2_buffers', 'p50_images_s')
    int8 = sitting.get('int8', 'throughput', 'ours_2_buffers', 'p50_images_s')
    return [
        Target('fp16, batch 1: p50 against the bare engine as a CUDA graph',
               ratio(p50, sitting.get(*latency, 'bare_graph', 'p50_ms')), 1.03, True),
        Target('fp16, batch 1: p50 in ms', p50, 0.36, True),
        Target('fp16, batch 1: p99 against p50',
               ratio(sitting.get(*latency, 'ours', 'p99_ms'), p50), 1.2, True),
        Target('fp16, batch 64: sustained with copies against the bare GPU-only rate',
               ratio(ours64, sitting.get(
                   'fp16', 'throughput', 'bare_gpu_only', 'p50_images_s')), 0.97, False),
        Target('fp16, batch 64: sustained with copies against torch.compile on the GPU only',
               ratio(ours64, sitting.torch_get(
                   'throughput', 'compile_b64_gpu_only', 'p50_images_s')), 1.3, False),
        Target('int8 against fp16, batch 64, sustained', ratio(int8, ours64), 1.4, False),
        Target('100,000 inferences: growth of host memory in MiB',
               sitting.get('inferences', 'host_growth_mib'), 1, True),
        Target('100,000 inferences: growth of device memory in MiB',
               sitting.get('inferences', 'device_growth_mib'), 0, True),
        Target('1,000 openings: growth of host memory in MiB',
               sitting.get('openings', 'host_growth_mib'), 1, True),
        Target('1,000 openings: growth of device memory in MiB',
               sitting.get('openings', 'device_growth_mib'), 0, True),
    ]
