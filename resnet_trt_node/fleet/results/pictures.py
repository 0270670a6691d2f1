"""Pictures of chosen frames, taken out of their bags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_trt_node.bag import stretches
from resnet_trt_node.bag.counting import UnreadableMessage
from resnet_trt_node.bag.messages import StampedMessage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.storage.merging import EVERYTHING, Span
from resnet_trt_node.bag.stretches import NumberedImage
from resnet_trt_node.bag.video_images import is_packet, with_pictures
from resnet_trt_node.errors import BagError, ResnetTrtError
from resnet_trt_node.fleet.results.candidates import FoundFrame
from resnet_trt_node.imaging.compressed.picture_header import read_header
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import DecodedMessage, to_rgb
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.text.printable import one_line, printable

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
    by_time: dict[int, list[int]] = {}
    for place in places:
        by_time.setdefault(frames[place].log_time_ns, []).append(place)
    of_video: list[int] = []
    with BagReader(path, warn) as bag:
        for time_ns in sorted(by_time):
            wanted = {frames[place].topic for place in by_time[time_ns]}
            for image, number in _at(bag, sorted(wanted.intersection(bag.topics)), time_ns):
                found = [place for place in by_time[time_ns]
                         if _is_of(image, number, frames[place])]
                if is_packet(image):
                    of_video += found
                    continue
                for place in found:
                    yield place, FramePicture(image.message)
        if of_video:
            yield from _of_video(bag, frames, of_video)


def _at(
        bag: BagReader, topics: Sequence[str], time_ns: int,
) -> Iterator[tuple[StampedMessage, Optional[int]]]:
    """Yield the images of a log time, with their numbers on topics that have several of them."""
    span = Span(time_ns, time_ns + 1)
    counts: Counter[str] = Counter()
    firsts: dict[str, tuple[Any, Any]] = {}
    for kind, stored in bag.stored(topics, (), span):
        counts[stored.connection.topic] += 1
        firsts.setdefault(stored.connection.topic, (kind, stored))
    numbers = {topic: _earlier(bag, topic, time_ns) for topic in topics if counts[topic] > 1}
    single = [firsts[topic] for topic in topics if counts[topic] == 1]
    several = bag.stored(sorted(numbers), (), span) if numbers else ()
    for kind, stored in chain(single, several):
        topic = stored.connection.topic
        number = numbers.get(topic)
        if number is not None:
            numbers[topic] += 1
        with suppress(UnreadableMessage):
            yield bag.stamped(stored, kind), number


def _earlier(bag: BagReader, topic: str, time_ns: int) -> int:
    """Return the number of images of a topic before a log time."""
    times = bag.log_times([topic])
    if times is None:
        return sum(1 for _ in bag.stored([topic], (), Span(EVERYTHING.start_ns, time_ns)))
    return int(np.searchsorted(times[topic], time_ns))


def _of_video(
        bag: BagReader, frames: Sequence[FoundFrame], places: Sequence[int],
) -> Iterator[tuple[int, FramePicture]]:
    """Yield pictures that need those before them, from the start of the bag."""
    left = set(places)
    topics = sorted({frames[place].topic for place in places})
    whole, = stretches.divide(bag, topics, 0)
    images = (one for one in stretches.read(bag, whole, topics) if isinstance(one, NumberedImage))
    for image in with_pictures(images, MAX_FILE_IMAGE_BYTES):
        found = [place for place in sorted(left) if _is_of(image, image.number, frames[place])]
        left.difference_update(found)
        for place in found:
            yield place, FramePicture(image.message)
        if not left:
            return


def _is_of(image: StampedMessage, number: Optional[int], frame: FoundFrame) -> bool:
    """Return whether an image is a frame; `number` is None for the only one of its time."""
    return number in (None, frame.frame) and (
        image.topic, image.log_time_ns, image.stamp_ns) == (
        frame.topic, frame.log_time_ns, frame.stamp_ns)
