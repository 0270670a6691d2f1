"""From pictures to predictions, in full batches and without ROS."""

from __future__ import annotations

from functools import partial
from typing import Callable, Iterable, Iterator, Optional, TYPE_CHECKING, TypeVar, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.row_batches import RowBatches
from resnet_trt_node.contract.prediction import Prediction, top_predictions, UnknownRule
from resnet_trt_node.errors import AnswerError, FrameError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import ResizeMethod, Resizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar('T')


class Classifier:
    """
    Classifies a stream of pictures in full batches, for command lines and evaluation.

    :param backend: an open backend; stays the caller's.
    :param top_k: classes a picture; all above the threshold of a multi-label model.
    :param score_threshold: classes below it are left out, see `least_score`.
    :param method: how pictures are resized, see `imaging.resize`.
    :param unknown: when a picture shows none of the classes; None for never.
    """

    def __init__(
            self, backend: Backend, top_k: int = 5, score_threshold: float = 0.0,
            method: ResizeMethod = 'fast', unknown: Optional[UnknownRule] = None) -> None:
        self._backend = backend
        self._top_k = top_k
        self._threshold = score_threshold
        self._unknown = unknown
        self._resizer = Resizer(backend.spec.resize, method)

    def probabilities(
            self, items: Iterable[T], frame_of: Callable[[T], Frame],
            on_bad: Optional[Callable[[T, FrameError], None]] = None,
            name_of: Callable[[T], str] = str) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """
        Yield each item with its class probabilities, in order.

        :param items: anything; read lazily, a batch at a time.
        :param frame_of: returns the frame of an item; its errors pass through.
        :param on_bad: takes each item whose frame cannot be used, or for which the model returned
            no probabilities (`AnswerError`); it is then left out. None lets that error pass
            through.
        :param name_of: how such an `AnswerError` names an item, '' for not at all.
        :returns: pairs of the item and a float32 (C,) row that the caller owns.
        """
        return self.written(
            items, lambda item, row: self._resizer.resize(frame_of(item), row), on_bad, name_of)

    def written(
            self, items: Iterable[T], write: Callable[[T, NDArray[np.uint8]], object],
            on_bad: Optional[Callable[[T, FrameError], None]] = None,
            name_of: Callable[[T], str] = str) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """
        Yield each item with its class probabilities, as `probabilities` does.

        :param items: anything; read lazily, a batch at a time.
        :param write: overwrites an item's row of the batch, uint8 (H, W, 3).
        :param on_bad: as for `probabilities`.
        :param name_of: as for `probabilities`.
        """
        batches: RowBatches[T] = RowBatches(self._backend)
        for item in items:
            try:
                answers = batches.put(item, partial(write, item))
            except FrameError as error:
                if on_bad is None:
                    raise
                on_bad(item, error)
                continue
            yield from _usable(answers, on_bad, name_of)
        yield from _usable(batches.infer(), on_bad, name_of)

    def classify(
            self, items: Iterable[T], frame_of: Callable[[T], Frame],
            on_bad: Optional[Callable[[T, FrameError], None]] = None,
            name_of: Callable[[T], str] = str) -> Iterator[tuple[T, list[Prediction]]]:
        """
        Yield each item with its top predictions, in order.

        :param items: anything; read lazily, a batch at a time.
        :param frame_of: returns the frame of an item; its errors pass through.
        :param on_bad: as for `probabilities`.
        :param name_of: as for `probabilities`.
        """
        spec = self._backend.spec
        for item, row in self.probabilities(items, frame_of, on_bad, name_of):
            yield item, top_predictions(
                row, spec.labels, self._top_k, self._threshold, self._unknown, spec.multi_label)


def _usable(
        answers: Iterable[tuple[T, Union[NDArray[np.float32], str]]],
        on_bad: Optional[Callable[[T, FrameError], None]],
        name_of: Callable[[T], str]) -> Iterator[tuple[T, NDArray[np.float32]]]:
    """Yield the items that have probabilities."""
    for item, found in answers:
        if not isinstance(found, str):
            yield item, found
            continue
        name = name_of(item)
        error = AnswerError(f'{name}: {found}' if name else found)
        if on_bad is None:
            raise error
        on_bad(item, error)
