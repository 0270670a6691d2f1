"""A subject of known cost, and models whose weights are off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.simulated import SIMULATED_SPEC
from resnet_trt_node.compare.subject import Answer, Subject

OPTIONS = {'max_batch_size': 4, 'num_buffers': 1, 'cpu_threads': 1}


class FakeSubject(Subject):
    """
    Takes as long as it is told, on a clock that several share.

    :param label: what its calls are noted under.
    :param clock: a list of one number, the time in ns.
    :param cost_ns: the time to what an inference takes then.
    :param calls: takes (label, settle, count) of each `time`.
    """

    def __init__(self, label, clock, cost_ns, calls):
        super().__init__(SIMULATED_SPEC, BackendInfo('fake', '1', 'none', {}))
        self._label, self._clock, self._cost_ns, self._calls = label, clock, cost_ns, calls

    def load(self, frames):
        self.loaded = frames.copy()

    def answer(self):
        return Answer(np.ones((len(self.loaded), 1), np.float32), self._infer())

    def time(self, settle, count):
        self._calls.append((self._label, settle, count))
        for _ in range(settle):
            self._infer()
        return [self._infer() for _ in range(count)]

    def close(self):
        pass

    def _infer(self):
        took_ns = int(self._cost_ns(self._clock[0]))
        self._clock[0] += took_ns
        return took_ns


def perturb(model: Path, path: Path, noise: float) -> Path:
    """Write a model whose weights are off by a share of theirs."""
    changed = onnx.load(str(model))
    random = np.random.default_rng(0)
    for tensor in changed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        off = values * (1 + noise * random.standard_normal(values.shape))
        tensor.CopyFrom(numpy_helper.from_array(off.astype(np.float32), tensor.name))
    onnx.save(changed, str(path))
    return path
