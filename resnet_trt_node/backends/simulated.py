"""
A backend of known cost and known answers, for load tests and benchmarks without a GPU.

It sleeps instead of computing, so that a measurement shows what the node itself costs, and its
answer is a function of the frame, so that a test can tell whether each frame got its own. Like a
GPU it works through what was submitted, one batch after the other, while the caller goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Dict, TYPE_CHECKING, Union

import numpy as np

from resnet_trt_node.backends.base import Backend, BackendInfo, powers_of_two, WARM_UP_CALLS
from resnet_trt_node.backends.host_buffers import host_buffers
from resnet_trt_node.backends.options import BackendOptions, number
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.errors import InferenceError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The spec used where no model file is named.
SIMULATED_SPEC = ModelSpec(
    height=224, width=224, labels=tuple(f'red_{value:03d}' for value in range(256)),
    resize=ResizeRule(256, 224, 224), precision='fp32', architecture='simulated',
    source='no network: class i means a mean red value of i')


@dataclass(frozen=True)
class SimulatedOptions(BackendOptions):
    """
    Options of the simulated backend, given behind its name: `simulated:MS+ROW_MS:FAIL_EVERY`.

    :param simulated_ms: what a batch takes, in milliseconds.
    :param simulated_row_ms: what each row of it takes besides.
    :param simulated_fail_every: of the batches after the warm-up every n-th raises
        InferenceError; 0 none.
    """

    simulated_ms: float = number(5.0, 0, 10_000)
    simulated_row_ms: float = number(0.0, 0, 1000)
    simulated_fail_every: int = number(0, 0, 1_000_000)

    @classmethod
    def from_text(cls, text: str) -> Dict[str, Any]:
        """Read '5', '5+0.3' or '5:3': milliseconds, those of a row, which batches fail."""
        took, _, every = text.partition(':')
        batch, _, row = took.partition('+')
        try:
            return {'simulated_ms': float(batch), 'simulated_row_ms': float(row or 0),
                    'simulated_fail_every': int(every or 0)}
        except ValueError as error:
            raise UsageError(
                f'simulated:{text}: write simulated:MS, simulated:MS+ROW_MS or either with '
                ':FAIL_EVERY, such as simulated:5 or simulated:5+0.3') from error


class SimulatedBackend(Backend):
    """
    Answers the frame's mean red value as its class, or the last class, after a known time.

    :param path: a deployable ONNX file whose spec is taken; '' takes `SIMULATED_SPEC`.
    :param options: what a batch takes, and which ones fail.
    """

    options_type = SimulatedOptions

    def __init__(self, path: Union[str, Path], options: SimulatedOptions) -> None:
        # Path('') is '.', and no folder is a model.
        spec = read_model_spec(path) if str(path) not in ('', '.') else SIMULATED_SPEC
        self._fixed_s = options.simulated_ms / 1e3
        self._row_s = options.simulated_row_ms / 1e3
        self._fail_every = options.simulated_fail_every
        # perf_counter when the device will have done each buffer, and all of them.
        self._done_s: dict[int, float] = {}
        self._idle_s = 0.0
        # `warm_up` takes so many batches.
        self._batches = -WARM_UP_CALLS * len(powers_of_two(options.max_batch_size))
        super().__init__(
            spec,
            BackendInfo('simulated', '1', 'none', {
                'simulated_ms': str(options.simulated_ms),
                'simulated_row_ms': str(options.simulated_row_ms)}),
            host_buffers(spec, options))

    def _submit(self, batch_size: int, index: int) -> None:
        self._batches += 1
        if self._fail_every and self._batches > 0 and self._batches % self._fail_every == 0:
            raise InferenceError(
                f'batch {self._batches} failed, as simulated:MS:FAIL_EVERY has it: leave the last '
                'number out')
        start_s = max(perf_counter(), self._idle_s)
        self._idle_s = start_s + self._fixed_s + batch_size * self._row_s
        self._done_s[index] = self._idle_s

    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        sleep(max(0.0, self._done_s[index] - perf_counter()))
        classes = self.spec.num_classes
        red = self._buffers[index][:batch_size, :, :, 0].reshape(batch_size, -1).mean(axis=1)
        winners = np.minimum(np.rint(red).astype(np.int64), classes - 1)
        # Half to the winner, the rest spread, so that a row sums to 1 and scores fall.
        probabilities = np.full((batch_size, classes), 0.5 / classes, np.float32)
        probabilities[np.arange(batch_size), winners] += 0.5
        return probabilities

    def _close(self) -> None:
        pass
