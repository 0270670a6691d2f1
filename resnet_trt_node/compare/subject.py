"""
What is compared: one model opened on one backend, wherever that backend runs.

The backend may be one of this package's or one of Polygraphy's own runners (`runners`). Whoever
measures asks both the same: answer frames, load a batch, time it, close. Times are taken next to
the backend's own calls, so that Polygraphy's bookkeeping does not count as a backend's work.
"""

from __future__ import annotations

from abc import abstractmethod
import platform
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.result_check import refuse_bad
from resnet_trt_node.closing import Closing
from resnet_trt_node.contract.spec import ModelSpec


class Subject(Closing):
    """
    One model opened on one backend; a context manager.

    :param spec: the contract of the model.
    :param info: who computes.
    :param max_batch_size: the most frames that are inferred together.
    """

    #: Version of the Python that runs it.
    python = platform.python_version()

    def __init__(self, spec: ModelSpec, info: BackendInfo, max_batch_size: int) -> None:
        self.spec = spec
        self.info = info
        self._max_batch_size = max_batch_size

    def infer(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Answer frames, in full batches.

        :param frames: uint8 (N, H, W, 3) RGB, at least one, of the size that the model takes.
        :returns: float32 (N, C) probabilities, owned by the caller.
        :raises InferenceError: if the runtime fails, or a row is no probabilities.
        """
        answers = []
        for start in range(0, len(frames), self._max_batch_size):
            batch = frames[start:start + self._max_batch_size]
            self.load(batch)
            answers.append(np.array(self._run()))
            refuse_bad(
                answers[-1], len(batch), self.spec.num_classes, not self.spec.multi_label)
        return np.concatenate(answers)

    @abstractmethod
    def load(self, frames: NDArray[np.uint8]) -> None:
        """
        Put a batch where the backend takes it, for `time`; this is not timed.

        :param frames: uint8 (N, H, W, 3) RGB, up to the largest batch, of the model's size; they
            must not change until the next batch.
        """

    def time(self, settle: int, count: int) -> list[int]:
        """
        Infer the loaded batch several times.

        :param settle: inferences before the timed ones, to fill the caches again.
        :param count: timed inferences.
        :returns: what each took, in nanoseconds.
        :raises InferenceError: if the runtime fails.
        """
        for _ in range(settle):
            self._run()
        took_ns = []
        for _ in range(count):
            start_ns = perf_counter_ns()
            self._run()
            took_ns.append(perf_counter_ns() - start_ns)
        return took_ns

    @abstractmethod
    def _run(self) -> Any:
        """Infer the loaded batch; the result lives until the next one."""


class BackendSubject(Subject):
    """
    A backend of this package.

    Frames lie in the backend's own buffer before the clock starts, as they do in the node, where
    preprocessing writes them there.

    :param backend: an open backend, which becomes the subject's to close.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend.spec, backend.info, backend.max_batch_size)
        self._backend = backend
        self._batch_size = 0

    def load(self, frames: NDArray[np.uint8]) -> None:
        """Copy a batch into the backend's buffer."""
        self._batch_size = len(frames)
        self._backend.buffer()[:len(frames)] = frames

    def _run(self) -> NDArray[np.float32]:
        return self._backend.infer(self._batch_size)

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()
