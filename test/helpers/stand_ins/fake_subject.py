"""A subject of known cost, and models whose weights are off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.simulated import SIMULATED_SPEC
from resnet_trt_node.compare.subject import Subject
from resnet_trt_node.contract.spec import ResizeRule

SPEC = replace(SIMULATED_SPEC, height=1, width=1, resize=ResizeRule(1, 1, 1))
OPTIONS = {'max_batch_size': 4, 'num_buffers': 1, 'threads': 1}


class FakeSubject(Subject):
    """
    Takes as long as it is set to, on a clock that several share.

    :param label: what its calls are noted under.
    :param clock: a list of one number, the time in ns.
    :param cost_ns: the time to what an inference takes then.
    :param calls: takes (label, settle, count) of each `time`.
    """

    def __init__(self, label, clock, cost_ns, calls):
        super().__init__(SPEC, BackendInfo('fake', '1', 'none', {}), 1024)
        self._label, self._clock, self._cost_ns, self._calls = label, clock, cost_ns, calls

    def load(self, frames):
        self.loaded = frames.copy()

    def time(self, settle, count):
        self._calls.append((self._label, settle, count))
        for _ in range(settle):
            self._run()
        return [self._run() for _ in range(count)]

    def close(self):
        pass

    def _run(self):
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
