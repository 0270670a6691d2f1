"""What a sitting at a GPU measured, as its JSON holds it."""

from __future__ import annotations

from typing import Any, Optional

from tools.gpu.roofline import floor_ms

#: Published: MLPerf Inference 3.1, closed, data centre, H100 SXM, int8, offline, one GPU.
MLPERF_IMAGES_S = 88_050


def ratio(above: Optional[float], below: Optional[float]) -> Optional[float]:
    """Return a quotient, None if one of both was not measured."""
    return above / below if above is not None and below else None


class Sitting:
    """The results of one sitting, by name; failed and missing steps are None."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.steps: dict[str, Any] = values.get('tensorrt', {})
        self.torch: dict[str, Any] = values.get('torch', {})
        self.layers: list[dict[str, Any]] = values.get('layers', [])

    def get(self, *path: str) -> Optional[Any]:
        """Return a value of the TensorRT steps, None if anything on the way is missing."""
        return _dig(self.steps, path)

    def torch_get(self, *path: str) -> Optional[Any]:
        """Return a value of PyTorch's results, None if anything on the way is missing."""
        return _dig(self.torch, path)

    def cases(self) -> dict[str, Any]:
        """Return the steps that measured a model and did not fail."""
        return {name: step for name, step in self.steps.items() if 'case' in step}

    def best_int8(self) -> Optional[tuple[str, float]]:
        """Return the int8 case of the highest sustained rate, with the rate."""
        rates = [(name, step['throughput']['ours_2_buffers']['p50_images_s'])
                 for name, step in self.cases().items()
                 if name.startswith('int8') and 'throughput' in step]
        return max(rates, key=lambda pair: pair[1]) if rates else None

    def floor(self, batch: int, element_bytes: int, rate: str) -> Optional[float]:
        """Return the roofline's milliseconds for a batch."""
        ceilings = self.torch.get('ceilings')
        if not self.layers or not ceilings:
            return None
        return floor_ms(
            self.layers, batch, element_bytes, ceilings[f'{rate}_flops_s'], ceilings['bytes_s'])


def _dig(values: Any, path: tuple[str, ...]) -> Optional[Any]:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return None
        values = values[name]
    return values
