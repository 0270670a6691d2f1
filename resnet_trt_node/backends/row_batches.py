"""Rows of batches: filled one after the other, and inferred when a batch is full."""

from __future__ import annotations

from typing import Callable, Generic, TYPE_CHECKING, TypeVar, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.result_check import bad_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar('T')


class RowBatches(Generic[T]):
    """
    Collects rows until a batch is full, whatever they are rows of.

    :param backend: an open backend; stays the caller's, who submits nothing else meanwhile.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._buffer = backend.buffer()
        self._waiting: list[T] = []

    def put(
            self, item: T, write: Callable[[NDArray[np.uint8]], object],
    ) -> list[tuple[T, Union[NDArray[np.float32], str]]]:
        """
        Add a row.

        :param item: what the answer is for.
        :param write: overwrites the row, uint8 (H, W, 3); after an error of it, which passes
            through, the row counts as not added.
        :returns: as `infer` where this was the last row of a batch, else nothing.
        """
        write(self._buffer[len(self._waiting)])
        self._waiting.append(item)
        return self.infer() if len(self._waiting) == self._backend.max_batch_size else []

    def infer(self) -> list[tuple[T, Union[NDArray[np.float32], str]]]:
        """
        Infer the rows that wait.

        :returns: of each, in order, its item and its probabilities, float32 (C,), which the caller
            owns; or in words why the model returned none.
        :raises InferenceError: if the runtime fails.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        self._backend.submit(len(waiting))
        # The backend's result lives until the next submit, the caller's rows longer.
        rows = self._backend.collect().copy()
        bad = bad_rows(rows, not self._backend.spec.multi_label)
        return [(item, bad.get(place, row)) for place, (item, row) in enumerate(zip(
            waiting, rows))]
