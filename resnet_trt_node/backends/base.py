"""
What a backend is: a runtime that turns batch buffers of frames into class probabilities.

A backend owns a few batch buffers. A caller writes frames into the rows of one buffer, submits
it, may fill the next buffer meanwhile, and collects the probabilities of the first. One thread
opens, submits, collects and closes; the buffers' memory may be written by any thread while the
buffer is not submitted.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any, Callable, ClassVar, Mapping, Optional, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.backends.options import BackendOptions
from resnet_trt_node.backends.result_check import check_shape, refuse_bad
from resnet_trt_node.closing import Closing
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from resnet_trt_node.imaging.on_device.device_rows import DeviceRows

#: How often `warm_up` infers a batch size.
WARM_UP_CALLS = 2


@dataclass(frozen=True)
class BackendInfo:
    """
    Who computes, for logs and diagnostics.

    :param name: the backend's name, such as 'onnxruntime'.
    :param version: version of the runtime.
    :param device: the device in words, such as 'CPU' or 'NVIDIA H100 80GB HBM3'.
    :param details: anything else worth showing, name to text.
    """

    name: str
    version: str
    device: str
    details: Mapping[str, str]


class Backend(Closing):
    """
    One opened deployable model; see the module's text for the order of calls.

    The base class checks every call, so that all backends refuse misuse in the same words;
    subclasses implement `_submit`, `_collect` and `_close`, which see valid arguments only.

    :param spec: the contract of the opened model.
    :param info: who computes.
    :param buffers: the batch buffers, each uint8 (max_batch_size, H, W, 3) RGB, owned by the
        backend and valid until `close`.
    """

    #: Whether `submit` returns while the device computes. If so, a caller that submits the next
    #: buffer before it collects this one keeps the device busy; if not, it only delays answers.
    asynchronous = True
    #: Its options: a subclass takes the path of a model and one of these.
    options_type: ClassVar[type[BackendOptions]] = BackendOptions

    def __init__(
            self, spec: ModelSpec, info: BackendInfo,
            buffers: Sequence[NDArray[np.uint8]]) -> None:
        self.spec = spec
        self.info = info
        self._buffers = tuple(buffers)
        self._submitted: dict[int, int] = {}
        #: Returns memory for messages of which the device reads raw images by itself: a writable
        #: buffer of so many bytes, for any thread, or MemoryError. None where it reads none.
        self.allocate_message: Optional[Callable[[int], Any]] = None
        #: Whether `close` was called.
        self.closed = False

    @property
    def max_batch_size(self) -> int:
        """Return the largest batch that can be submitted; all sizes from 1 to it are legal."""
        return int(self._buffers[0].shape[0]) if self._buffers else 0

    @property
    def num_buffers(self) -> int:
        """Return the number of batch buffers."""
        return len(self._buffers)

    def buffer(self, index: int = 0) -> NDArray[np.uint8]:
        """
        Return a batch buffer to write frames into.

        :param index: 0 to num_buffers - 1.
        :returns: uint8 (max_batch_size, H, W, 3) RGB, owned by the backend; frame i is row i.
        :raises UsageError: for an index out of range or after `close`.
        """
        self._check(index)
        return self._buffers[index]

    def submit(self, batch_size: int, index: int = 0) -> None:
        """
        Start inferring the first frames of a buffer; it must not be written until collected.

        :param batch_size: frames to infer, 1 to max_batch_size; the other rows are not read.
        :param index: which buffer.
        :raises UsageError: for arguments out of range, or if the buffer is already submitted.
        :raises InferenceError: if the runtime fails; the buffer is then free again.
        """
        self._check(index)
        if not 1 <= batch_size <= self.max_batch_size:
            raise UsageError(
                f'batch of {batch_size}: this backend was opened for 1 to {self.max_batch_size}')
        if index in self._submitted:
            raise UsageError(f'buffer {index} is being inferred: collect it before using it again')
        self._submit(batch_size, index)
        self._submitted[index] = batch_size

    def collect(self, index: int = 0) -> NDArray[np.float32]:
        """
        Wait for a submitted buffer.

        :param index: which buffer.
        :returns: float32 (batch_size, C), a row for each frame; owned by the backend and valid
            until the same buffer is submitted again. A row may be no probabilities, which is
            that frame's failure alone: see `bad_rows`.
        :raises UsageError: if the buffer was not submitted.
        :raises InferenceError: if the runtime failed or returned anything else; the buffer is
            then free again.
        """
        self._check(index)
        if index not in self._submitted:
            raise UsageError(f'buffer {index} was not submitted: call submit first')
        batch_size = self._submitted.pop(index)
        probabilities = self._collect(batch_size, index)
        check_shape(probabilities, batch_size, self.spec.num_classes)
        return probabilities

    def infer(self, batch_size: int, index: int = 0) -> NDArray[np.float32]:
        """
        Submit and collect a buffer, for callers that need an answer for each frame.

        :param batch_size: frames to infer, as for `submit`.
        :param index: which buffer.
        :returns: float32 (batch_size, C), each row of probabilities; owned as by `collect`.
        :raises UsageError: as `submit`.
        :raises InferenceError: as `collect`, and where a row is no probabilities.
        """
        self.submit(batch_size, index)
        probabilities = self.collect(index)
        refuse_bad(
            probabilities, batch_size, self.spec.num_classes, not self.spec.multi_label)
        return probabilities

    def device_rows(self, index: int = 0) -> Optional[DeviceRows]:
        """
        Return what writes rows of a buffer on the device.

        :param index: which buffer.
        :returns: owned by the backend; None where only the caller writes rows.
        """
        return None

    def fall_backs(self, index: int = 0) -> Mapping[int, Optional[Exception]]:
        """
        Return which rows of the last submission the CPU decoded instead of the device.

        :param index: which buffer.
        :returns: row to None, or to why the CPU could not either: its probabilities mean nothing
            then.
        """
        return {}

    def warm_up_sizes(self, index: int) -> Sequence[int]:
        """
        Return the batch sizes that are to be inferred with a buffer before frames come.

        Where a runtime takes any buffer alike and its memory for the largest batch serves the
        smaller ones, one buffer and few sizes stand for all.

        :param index: which buffer.
        :returns: any order; of the first buffer the largest size is among them.
        """
        return () if index else powers_of_two(self.max_batch_size)

    def close(self) -> None:
        """Free everything; calling it again does nothing."""
        if self.closed:
            return
        self.closed = True
        self._submitted.clear()
        self._buffers = ()
        self._close()

    def _check(self, index: int) -> None:
        if self.closed:
            raise UsageError('the backend is closed: open it again')
        if not 0 <= index < len(self._buffers):
            raise UsageError(f'buffer {index}: this backend has 0 to {len(self._buffers) - 1}')

    @abstractmethod
    def _submit(self, batch_size: int, index: int) -> None:
        """Start inferring; may block; raise InferenceError if the runtime fails."""

    @abstractmethod
    def _collect(self, batch_size: int, index: int) -> NDArray[np.float32]:
        """Return (batch_size, C) probabilities, waiting for them if need be."""

    @abstractmethod
    def _close(self) -> None:
        """Free the runtime's things; called once."""


def powers_of_two(largest: int) -> list[int]:
    """Return the powers of two below a batch size, and itself."""
    return [*(1 << power for power in range((largest - 1).bit_length())), largest]


def warm_up(backend: Backend) -> dict[int, float]:
    """
    Infer grey frames with the buffers and at the sizes of `Backend.warm_up_sizes`, twice each.

    Runtimes allocate and choose at the first call of a kind, some plan their memory there and
    allocate it at the second. The largest comes first: what it allocates serves the others.

    :param backend: an open backend with no buffer submitted; the buffers are overwritten.
    :returns: milliseconds of the last inference, by batch size, rising; the largest is among
        them.
    :raises InferenceError: if the runtime fails.
    """
    took_ms: dict[int, float] = {}
    for index in range(backend.num_buffers):
        sizes = backend.warm_up_sizes(index)
        if sizes:
            backend.buffer(index).fill(128)
        for batch_size in sorted(sizes, reverse=True):
            for _ in range(WARM_UP_CALLS):
                start_ns = perf_counter_ns()
                backend.infer(batch_size, index)
                took_ms[batch_size] = (perf_counter_ns() - start_ns) / 1e6
    return dict(sorted(took_ms.items()))
