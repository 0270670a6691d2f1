"""From pictures to predictions, in full batches and without ROS."""

from __future__ import annotations

from functools import partial
from typing import Callable, Iterable, Iterator, Optional, TYPE_CHECKING, TypeVar, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.row_batches import RowBatches
from resnet_trt_node.contract.prediction import Prediction, top_predictions, UnknownRule
from resnet_trt_node.errors import AnswerError, FrameError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.device_rows import DeviceRows
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.planned import plan_picture
from resnet_trt_node.imaging.raw.encodings import RawImage
from resnet_trt_node.imaging.resize import ResizeMethod, Resizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar('T')

#: Returns what a device may convert of an item; whether it decodes jpegs comes second.
PictureOf = Callable[[T, bool], Union[RawImage, EncodedPicture, None]]


class Classifier:
    """
    Classifies a stream of pictures in full batches, for command lines and evaluation.

    :param backend: an open backend; stays the caller's.
    :param top_k: classes a picture; all above the threshold of a multi-label model.
    :param score_threshold: classes below it are left out, see `least_score`.
    :param method: how pictures are resized, see `imaging.resize`.
    :param unknown: when a picture shows none of the classes; None for never.
    :param at_once: see `RowBatches`.
    """

    def __init__(
            self, backend: Backend, top_k: int = 5, score_threshold: float = 0.0,
            method: ResizeMethod = 'fast', unknown: Optional[UnknownRule] = None,
            at_once: bool = False) -> None:
        self._backend = backend
        self._at_once = at_once
        self._top_k = top_k
        self._threshold = score_threshold
        self._unknown = unknown
        self._resizer = Resizer(backend.spec.resize, method)

    def probabilities(
            self, items: Iterable[T], frame_of: Callable[[T], Frame],
            on_bad: Optional[Callable[[T, FrameError], None]] = None,
            name_of: Callable[[T], str] = str,
            picture_of: Optional[PictureOf[T]] = None,
    ) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """
        Yield each item with its class probabilities, in order.

        :param items: anything; read lazily, a few batches at a time.
        :param frame_of: returns the frame of an item; its errors pass through. Where a device
            could not decode items, it is called on threads of the backend, several at once.
        :param on_bad: takes each item whose frame cannot be used, or for which the model returned
            no probabilities (`AnswerError`); it is then left out. None lets that error pass
            through.
        :param name_of: how such an `AnswerError` names an item, '' for not at all.
        :param picture_of: returns what a device may convert of an item, where the backend has one
            that does; its errors are those of `frame_of`.
        :returns: pairs of the item and a float32 (C,) row that the caller owns.
        """
        def write(item: T, row: NDArray[np.uint8]) -> None:
            self._resizer.resize(frame_of(item), row)

        def offload(item: T, rows: DeviceRows, place: int) -> str:
            assert picture_of is not None
            planned = plan_picture(picture_of(item, rows.decodes), self._resizer.rule)
            return '' if planned is None else planned.put(rows, place, partial(write, item))
        return self.written(
            items, write, on_bad, name_of, None if picture_of is None else offload)

    def written(
            self, items: Iterable[T], write: Callable[[T, NDArray[np.uint8]], object],
            on_bad: Optional[Callable[[T, FrameError], None]] = None,
            name_of: Callable[[T], str] = str,
            offload: Optional[Callable[[T, DeviceRows, int], str]] = None,
    ) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """
        Yield each item with its class probabilities, as `probabilities` does.

        :param items: anything; read lazily, a few batches at a time.
        :param write: overwrites an item's row of the batch, uint8 (H, W, 3).
        :param on_bad: as for `probabilities`.
        :param name_of: as for `probabilities`.
        :param offload: has a device write the row instead, see `RowBatches.put`.
        """
        batches: RowBatches[T] = RowBatches(self._backend, self._at_once)
        for item in items:
            try:
                answers = batches.put(
                    item, partial(write, item), offload and partial(offload, item))
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
            name_of: Callable[[T], str] = str,
            picture_of: Optional[PictureOf[T]] = None) -> Iterator[tuple[T, list[Prediction]]]:
        """
        Yield each item with its top predictions, in order.

        :param items: as for `probabilities`.
        :param frame_of: likewise.
        :param on_bad: likewise.
        :param name_of: likewise.
        :param picture_of: likewise.
        """
        spec = self._backend.spec
        for item, row in self.probabilities(items, frame_of, on_bad, name_of, picture_of):
            yield item, top_predictions(
                row, spec.labels, self._top_k, self._threshold, self._unknown, spec.multi_label)


def _usable(
        answers: Iterable[tuple[T, Union[NDArray[np.float32], FrameError]]],
        on_bad: Optional[Callable[[T, FrameError], None]],
        name_of: Callable[[T], str]) -> Iterator[tuple[T, NDArray[np.float32]]]:
    """Yield the items that have probabilities."""
    for item, found in answers:
        if not isinstance(found, FrameError):
            yield item, found
            continue
        # Of a picture that cannot be decoded the error has the name already.
        name = name_of(item) if isinstance(found, AnswerError) else ''
        error = AnswerError(f'{name}: {found}') if name else found
        if on_bad is None:
            raise error
        on_bad(item, error)
