"""Rows of batches: filled one after the other, and inferred when a batch is full."""

from __future__ import annotations

from collections import deque
from typing import Callable, Generic, Optional, TYPE_CHECKING, TypeVar, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.result_check import bad_rows
from resnet_trt_node.errors import AnswerError, FrameError
from resnet_trt_node.imaging.on_device.device_rows import DeviceRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar('T')

#: Has the device write a row of a buffer; returns '' where it does not.
Offload = Callable[[DeviceRows, int], str]


class RowBatches(Generic[T]):
    """
    Collects rows until a batch is full, whatever they are rows of.

    While a device infers a batch, the next ones are filled, as many as the backend has buffers. A
    batch goes sooner, too, if the device has no room for the pictures of more rows.

    :param backend: an open backend; stays the caller's, who submits nothing else meanwhile.
    :param at_once: have a batch answered before the next one is filled, for items that come as
        slowly as a camera's.
    """

    def __init__(self, backend: Backend, at_once: bool = False) -> None:
        self._backend = backend
        # A blocking backend would only delay the answers.
        one = at_once or not backend.asynchronous
        # Buffers that are neither submitted nor being filled.
        self._free = deque(range(1 if one else backend.num_buffers))
        #: The most rows that wait for their answer.
        self.capacity = backend.max_batch_size * len(self._free)
        self._submitted: deque[tuple[int, list[T]]] = deque()
        self._begin()

    def put(
            self, item: T, write: Callable[[NDArray[np.uint8]], object],
            offload: Optional[Offload] = None,
    ) -> list[tuple[T, Union[NDArray[np.float32], FrameError]]]:
        """
        Add a row.

        :param item: what the answer is for.
        :param write: overwrites the row, uint8 (H, W, 3); after an error of it, which passes
            through, the row counts as not added.
        :param offload: has the device write the row instead, where there is one that does; its
            errors likewise.
        :returns: as `infer`, of batches that have their answers now.
        """
        place, rows = len(self._waiting), self._rows
        if rows is not None:
            # A bad one may have had this row before.
            rows.forget(place)
        if rows is None or offload is None or not offload(rows, place):
            write(self._buffer[place])
        self._waiting.append(item)
        if len(self._waiting) < self._backend.max_batch_size and not (
                rows is not None and rows.is_full):
            return []
        return self._submit()

    def infer(self) -> list[tuple[T, Union[NDArray[np.float32], FrameError]]]:
        """
        Infer the rows that wait.

        :returns: of each, in order, its item and its probabilities, float32 (C,), which the caller
            owns; or why there are none: an `AnswerError` where the model returned none, another
            one where neither the device nor the CPU could decode the picture.
        :raises InferenceError: if the runtime fails.
        :raises Exception: what decoding raised that was no `FrameError`.
        """
        answers = self._submit() if self._waiting else []
        while self._submitted:
            answers += self._collect()
        return answers

    def _begin(self) -> None:
        """Fill another buffer, from its first row on."""
        self._waiting: list[T] = []
        self._filling = self._free.popleft()
        self._buffer = self._backend.buffer(self._filling)
        self._rows = self._backend.device_rows(self._filling)
        if self._rows is not None:
            self._rows.clear()

    def _submit(self) -> list[tuple[T, Union[NDArray[np.float32], FrameError]]]:
        """Submit what is filled and begin another; return answers that were waited for."""
        self._backend.submit(len(self._waiting), self._filling)
        self._submitted.append((self._filling, self._waiting))
        try:
            return [] if self._free else self._collect()
        finally:
            self._begin()

    def _collect(self) -> list[tuple[T, Union[NDArray[np.float32], FrameError]]]:
        """Return the answers of the batch that was submitted first; its buffer is free then."""
        index, items = self._submitted.popleft()
        try:
            # The backend's result lives until the next submit, the caller's rows longer.
            rows = self._backend.collect(index).copy()
            fall_backs = self._backend.fall_backs(index)
        finally:
            self._free.append(index)
        bad: dict[int, FrameError] = {
            place: AnswerError(reason) for place, reason in bad_rows(
                rows, not self._backend.spec.multi_label).items()}
        for place, error in fall_backs.items():
            if isinstance(error, FrameError):
                bad[place] = error
            elif error is not None:
                raise error
        return [(item, bad.get(place, row)) for place, (item, row) in enumerate(zip(items, rows))]
