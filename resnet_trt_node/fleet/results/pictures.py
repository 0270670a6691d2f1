"""Pictures of chosen frames, taken out of their bags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_trt_node.bag.counting import UnreadableMessage
from resnet_trt_node.bag.messages import StampedMessage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.storage.merging import Span
from resnet_trt_node.bag.video_images import is_packet, with_pictures
from resnet_trt_node.errors import BagError, ResnetTrtError
from resnet_trt_node.fleet.results.candidates import FoundFrame
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import DecodedMessage, to_rgb
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.imaging.picture_header import read_header
from resnet_trt_node.printable import one_line, printable

#: Compressed pictures that are kept as they are, to the ending of their files.
_KEPT = {'jpeg': '.jpg', 'png': '.png', 'webp': '.webp'}


class FramePicture:
    """
    The picture of a frame.

    :param message: of the bag, or its decoded picture.
    """

    def __init__(self, message: Any) -> None:
        self._message = message

    def pixels(self) -> NDArray[np.uint8]:
        """
        Return it as uint8 (H, W, 3) RGB, owned by the caller.

        :raises FrameError: if it cannot be decoded.
        """
        frame = decode_message(self._message, max_bytes=MAX_FILE_IMAGE_BYTES)
        return to_rgb(frame.pixels, frame.order)

    def file(self) -> tuple[bytes, str]:
        """
        Return it as the content of a file, and the ending of its name.

        A jpeg, png or webp is kept as the camera sent it, any other picture becomes a png.

        :raises FrameError: if it cannot be decoded.
        """
        kept = self._kept()
        if kept is not None:
            return kept
        picture = BytesIO()
        Image.fromarray(self.pixels()).save(picture, 'PNG')
        return picture.getvalue(), '.png'

    def _kept(self) -> Optional[tuple[bytes, str]]:
        message = self._message
        # The format of a Bayer mosaic says so; its file shows a grey pattern.
        if isinstance(message, DecodedMessage) or not hasattr(message, 'format') \
                or str(message.format).strip().lower().startswith('bayer_'):
            return None
        data = bytes(message.data)
        header = read_header(memoryview(data))
        if header is None or header.kind not in _KEPT:
            return None
        return data, _KEPT[header.kind]


def take_pictures(
        frames: Sequence[FoundFrame], folder: Optional[Path], cache_bytes: int,
        warn: Callable[[str], None],
) -> Iterator[tuple[int, Optional[FramePicture], str]]:
    """
    Yield the pictures of frames, bag by bag.

    Of a bag only the messages of these times are read; of a topic of video all before the last of
    them. A bag that is missing or damaged costs its own frames only.

    :param frames: in any order.
    :param folder: where bags are looked for that are no more at their recorded path.
    :param cache_bytes: disk space for copies of bags from stores.
    :param warn: called with each warning about a bag.
    :returns: place among `frames`, the picture, and '' or why there is none.
    """
    by_bag: dict[str, list[int]] = {}
    for place, frame in enumerate(frames):
        by_bag.setdefault(frame.bag, []).append(place)
    for bag, places in by_bag.items():
        left = dict.fromkeys(places)
        reason = f'it is not in {bag} any more: was the bag recorded again?'
        try:
            with _local(bag, folder, cache_bytes) as path:
                for place, picture in _of_bag(path, frames, places, warn):
                    left.pop(place)
                    yield place, picture, ''
        # OSError is also that of a store that cannot be read.
        except (ResnetTrtError, OSError) as error:
            reason = printable(one_line(error))
        for place in left:
            yield place, None, reason


def find_bag(bag: str, folder: Optional[Path] = None) -> Path:
    """
    Return where a bag is.

    :param bag: path or address, as the run recorded it.
    :param folder: also looked into, for the end of that path, the longest first.
    :raises BagError: if it is at neither place.
    """
    if '://' not in bag and Path(bag).exists():
        return Path(bag)
    parts = [part for part in PurePosixPath(bag).parts if part not in ('/', '..')]
    for start in range(len(parts)) if folder is not None else ():
        assert folder is not None
        if (path := folder.joinpath(*parts[start:])).exists():
            return path
    where = f', nor in {folder}' if folder is not None else ''
    raise BagError(
        f'there is no bag at {bag}{where}: copy it to this machine, and name the folder that it '
        'is in with --bags')


@contextmanager
def _local(bag: str, folder: Optional[Path], cache_bytes: int) -> Iterator[Path]:
    try:
        path = find_bag(bag, folder)
    except BagError:
        if '://' not in bag:
            raise
        # Only bags from stores need fsspec.
        from resnet_trt_node.fleet.cache import local_bag
        with local_bag(bag, cache_bytes) as copy:
            yield copy
    else:
        yield path


def _of_bag(
        path: Path, frames: Sequence[FoundFrame], places: Sequence[int],
        warn: Callable[[str], None]) -> Iterator[tuple[int, FramePicture]]:
    by_time: dict[int, set[int]] = {}
    for place in places:
        by_time.setdefault(frames[place].log_time_ns, set()).add(place)
    of_video: list[int] = []
    with BagReader(path, warn) as bag:
        for time_ns in sorted(by_time):
            left = by_time[time_ns]
            topics = sorted({frames[place].topic for place in left}.intersection(bag.topics))
            for kind, stored in bag.stored(topics, (), Span(time_ns, time_ns + 1)):
                try:
                    image = bag.stamped(stored, kind)
                except UnreadableMessage:
                    continue
                found = [place for place in sorted(left) if _is_of(image, frames[place])]
                left.difference_update(found)
                if is_packet(image):
                    of_video += found
                    continue
                for place in found:
                    yield place, FramePicture(image.message)
        if of_video:
            yield from _of_video(bag, frames, of_video)


def _of_video(
        bag: BagReader, frames: Sequence[FoundFrame], places: Sequence[int],
) -> Iterator[tuple[int, FramePicture]]:
    """Yield pictures that need those before them, from the start of the bag."""
    left = set(places)
    topics = sorted({frames[place].topic for place in places})
    for image in with_pictures(bag.images(topics), MAX_FILE_IMAGE_BYTES):
        found = [place for place in sorted(left) if _is_of(image, frames[place])]
        left.difference_update(found)
        for place in found:
            yield place, FramePicture(image.message)
        if not left:
            return


def _is_of(image: StampedMessage, frame: FoundFrame) -> bool:
    return (image.topic, image.log_time_ns, image.stamp_ns) == (
        frame.topic, frame.log_time_ns, frame.stamp_ns)
