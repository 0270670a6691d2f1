"""Regions of successive frames in shared batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Optional, TypeVar, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.row_batches import RowBatches
from resnet_trt_node.errors import AnswerError, FrameError
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.pictures import picture_of_message
from resnet_trt_node.imaging.raw.encodings import RawImage
from resnet_trt_node.regions.frame_regions import FrameRegions

T = TypeVar('T')


@dataclass(eq=False)
class _Waiting(Generic[T]):
    """A frame, how many of its regions have no answer yet, and why it cannot be used."""

    item: T
    regions: FrameRegions
    left: int
    error: Optional[FrameError] = None


def picture_for(
        backend: Backend, message: Any,
        max_bytes: int) -> Union[RawImage, EncodedPicture, None]:
    """
    Return what a backend's device may convert of a message, None where the CPU does.

    :param backend: an open backend.
    :param message: of an image.
    :param max_bytes: memory that it may take, decoding included.
    :raises FrameError: if it is malformed.
    """
    rows = backend.device_rows()
    return None if rows is None else picture_of_message(message, rows.decodes, max_bytes)


class FrameBatches(Generic[T]):
    """
    Infers the regions of frames in full batches; the frames come out in their order.

    No more frames wait than the batches under way have rows, however few regions they have.

    :param backend: an open backend; stays the caller's.
    """

    def __init__(self, backend: Backend) -> None:
        self._rows: RowBatches[tuple[_Waiting[T], int]] = RowBatches(backend)
        self._most = self._rows.capacity
        self._frames: deque[_Waiting[T]] = deque()

    @property
    def waiting(self) -> list[T]:
        """Return the items of the frames that wait for answers, or to be taken by `done`."""
        return [frame.item for frame in self._frames]

    def add(self, item: T, regions: FrameRegions) -> None:
        """
        Take a frame.

        :param item: what it belongs to.
        :param regions: those that are inferred are cropped at once.
        :raises FrameError: if one cannot be cropped; the frame is left out then.
        """
        frame = _Waiting(item, regions, regions.num_rows)
        self._frames.append(frame)
        try:
            for index in range(frame.left):
                self._take(self._rows.put(
                    (frame, index), partial(regions.fill, index),
                    partial(regions.offload, index)))
        except Exception:
            self._frames.remove(frame)
            raise
        if len(self._frames) > self._most:
            self.finish()

    def finish(self) -> None:
        """Infer what waits for a full batch."""
        self._take(self._rows.infer())

    def done(self) -> Iterator[tuple[T, Union[FrameRegions, FrameError]]]:
        """
        Yield the frames of which all regions have their answer, and forget them.

        :returns: pairs of the item and its regions; or why the frame cannot be used, where that
            was found out by the device.
        """
        while self._frames and not self._frames[0].left:
            frame = self._frames.popleft()
            yield frame.item, frame.error or frame.regions

    def _take(self, answers: Iterable[tuple[tuple[_Waiting[T], int], Any]]) -> None:
        for (frame, index), found in answers:
            frame.left -= 1
            if isinstance(found, AnswerError):
                frame.regions.fail(index)
            elif isinstance(found, FrameError):
                frame.error = found
            else:
                frame.regions.take(index, found)
