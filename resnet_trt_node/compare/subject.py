"""
What is compared: one model opened on one backend, wherever that backend runs.

The backend may live in this process, inside one of Polygraphy's own runners (`runners`), or have
answered in another run whose results are in a file (`saved`). Whoever measures asks the first two
the same four things: take a batch, answer it, time it, close. Times are taken next to the
backend's own calls, so that Polygraphy's bookkeeping does not count as a backend's work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
import platform
from time import perf_counter_ns
from types import TracebackType
from typing import Optional, TYPE_CHECKING

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """
    One batch inferred.

    :param probabilities: float32 (N, C), owned by the caller.
    :param took_ns: what inferring took, in nanoseconds.
    """

    probabilities: NDArray[np.float32]
    took_ns: int


class Subject(ABC):
    """
    One model opened on one backend; a context manager.

    :param spec: the contract of the model.
    :param info: who computes.
    :param python: version of the Python that runs the backend, such as '3.9.18'.
    """

    def __init__(
            self, spec: ModelSpec, info: BackendInfo,
            python: str = platform.python_version()) -> None:
        self.spec = spec
        self.info = info
        self.python = python

    def infer(self, frames: NDArray[np.uint8]) -> Answer:
        """
        Answer a batch.

        :param frames: uint8 (N, H, W, 3) RGB, N at most what it was opened for.
        :raises InferenceError: if the runtime fails.
        """
        self.load(frames)
        return self.answer()

    @abstractmethod
    def load(self, frames: NDArray[np.uint8]) -> None:
        """
        Take the batch that `answer` and `time` infer until the next one is loaded.

        :param frames: uint8 (N, H, W, 3) RGB; copied or kept, and not to be changed meanwhile.
        :raises UsageError: if it does not fit.
        """

    @abstractmethod
    def answer(self) -> Answer:
        """Infer the loaded batch once."""

    @abstractmethod
    def time(self, settle: int, count: int) -> list[int]:
        """
        Infer the loaded batch again and again.

        :param settle: inferences before the timed ones.
        :param count: timed inferences.
        :returns: what each took, in nanoseconds.
        :raises InferenceError: if the runtime fails.
        """

    @abstractmethod
    def close(self) -> None:
        """Free everything; calling it again does nothing."""

    def __enter__(self) -> Subject:
        """Return the subject itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Close it."""
        self.close()


class BackendSubject(Subject):
    """
    A backend of this package in this process.

    Frames lie in the backend's own buffer before the clock starts, as they do in the node, where
    preprocessing writes them there.

    :param backend: an open backend, which becomes the subject's to close.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend.spec, backend.info)
        self._backend = backend
        self._batch_size = 0

    def load(self, frames: NDArray[np.uint8]) -> None:
        """Write the frames into the backend's buffer."""
        buffer = self._backend.buffer()
        if not 1 <= len(frames) <= len(buffer) or frames.shape[1:] != buffer.shape[1:]:
            raise UsageError(
                f'frames of shape {frames.shape}: this backend takes up to {buffer.shape}')
        self._batch_size = len(frames)
        buffer[:len(frames)] = frames

    def answer(self) -> Answer:
        """Infer the loaded batch once."""
        start_ns = perf_counter_ns()
        probabilities = self._backend.infer(self._loaded())
        took_ns = perf_counter_ns() - start_ns
        # The backend's array lives until its next inference.
        return Answer(probabilities.copy(), took_ns)

    def time(self, settle: int, count: int) -> list[int]:
        """Infer the loaded batch again and again."""
        batch_size, infer = self._loaded(), self._backend.infer
        for _ in range(settle):
            infer(batch_size)
        took_ns = []
        for _ in range(count):
            start_ns = perf_counter_ns()
            infer(batch_size)
            took_ns.append(perf_counter_ns() - start_ns)
        return took_ns

    def close(self) -> None:
        """Close the backend."""
        self._backend.close()

    def _loaded(self) -> int:
        if not self._batch_size:
            raise UsageError('no batch is loaded: call load first')
        return self._batch_size
