"""The inputs of a command, as one stream of frames: pictures, folders, zip files, bags, videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Optional, TYPE_CHECKING, Union

from resnet_trt_node.bag.storage.names import is_bag
from resnet_trt_node.cli.support.console import print_warning, text_width
from resnet_trt_node.closing import Closing
from resnet_trt_node.datasets.listing import count_unread, describe_several, describe_unread
from resnet_trt_node.datasets.picture_file import PictureFile
from resnet_trt_node.datasets.pictures import decode_picture, read_picture_file
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.videos import is_live, is_video, Video
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.imaging.compressed.picture_formats import (
    is_picture, START_BYTES, what_is_missing)
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.pictures import picture_of_message
from resnet_trt_node.imaging.raw.encodings import RawImage
from resnet_trt_node.imaging.raw.float_images import FLOAT_ASSUMPTION, has_floats
from resnet_trt_node.regular_file import open_regular

if TYPE_CHECKING:
    from resnet_trt_node.bag.messages import BagImage
    from resnet_trt_node.bag.reader import BagReader

_Part = Union[Path, PictureStore, Video, 'BagReader']


@dataclass(eq=False)
class Source:
    """
    One input picture.

    :param path: path of the picture, or of its bag or video.
    :param decode: decodes it.
    :param picture: returns what a device may convert of it; whether it decodes jpegs comes first.
    :param image: the recorded image, None for a picture file.
    :param frame: the decoded picture, None until `load` was called.
    :param video: the video that it is of, None for any other.
    :param time_ns: when it is shown there, in nanoseconds from the start.
    """

    path: Path
    decode: Callable[[], Frame] = field(repr=False)
    picture: Callable[[bool], Union[RawImage, EncodedPicture, None]] = field(
        default=lambda decodes: None, repr=False)
    image: Optional[BagImage] = None
    frame: Optional[Frame] = field(default=None, repr=False)
    video: Optional[Video] = None
    time_ns: int = 0

    @property
    def name(self) -> str:
        """Return the path of the picture, or of its bag or video; a stream's address."""
        return str(self.path) if self.video is None else self.video.name

    @property
    def is_file(self) -> bool:
        """Tell whether it is a picture file: neither of a bag nor of a video."""
        return self.image is None and self.video is None

    def load(self) -> Frame:
        """
        Decode the picture, and keep the frame for `AnnotatedPictures`.

        :raises FrameError: if it cannot be decoded.
        """
        self.frame = self.decode()
        return self.frame

    def describe(self) -> str:
        """Return the path of a picture file, topic and stamp or video and time of another."""
        if self.video is not None:
            return f'{self.name} {stamp_text(self.time_ns)}'
        if self.image is None:
            return self.name
        return f'{self.image.topic} {stamp_text(self.image.stamp_ns)}'


class Inputs(Closing):
    """
    All inputs of the command line, checked; a context manager.

    :param words: pictures, folders or zip files of pictures, videos, addresses of live streams,
        and bags.
    :param topics: image topics of the bags, None for all of them.
    :param check_pictures: check the first bytes of all picture files before any work.
    :param max_bytes: memory that a picture may take, decoding included.
    :raises DataError: if an input does not exist or cannot be opened, or has no pictures.
    :raises FrameError: if a file is not a picture.
    :raises BagError: if a bag cannot be read or lacks a topic.
    :raises UsageError: if topics are given without a bag.
    """

    def __init__(
            self, words: Sequence[str], topics: Optional[Sequence[str]],
            check_pictures: bool, max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        self._topics = topics
        self._max_bytes = max_bytes
        self._stack = ExitStack()
        self._parts: list[_Part] = []
        #: The bags, open until `close`.
        self.bags: list[BagReader] = []
        #: The video files and live streams.
        self.videos: list[Video] = []
        #: The picture files.
        self.pictures: list[Path] = []
        #: Those of which only the first frame was read.
        self._several: set[Path] = set()
        self.count = 0
        #: How many files of each kind in the folders are not read, see `describe_unread`.
        self.unread: Counter[str] = Counter()
        with self._stack:
            for word in words:
                if not word:
                    raise DataError(
                        'an INPUT is empty: name a picture, a folder, a video or a bag')
                if is_live(word):
                    self._add_video(word)
                else:
                    self._add(Path(word))
            if topics and not self.bags:
                raise UsageError('--topic chooses among the topics of a bag: no bag is given')
            if check_pictures:
                for path in self.pictures:
                    _check_picture(path)
            self._stack = self._stack.pop_all()  # without an error the inputs stay open

    @property
    def warnings(self) -> list[str]:
        """Return what the inputs lack or what was assumed, as far as they have been read."""
        line = self.describe_several()
        return [line for part in self.bags for line in part.warnings] + [
            line for part in self.videos for line in part.warnings] + ([line] if line else [])

    @property
    def has_pictures(self) -> bool:
        """Tell whether any input is no bag."""
        return len(self._parts) > len(self.bags)

    def image_topics(self, bag: BagReader) -> list[str]:
        """Return the selected image topics of a bag."""
        return bag.choose_images(self._topics)

    def __iter__(self) -> Iterator[Source]:
        """Yield every picture in the order of the command line; those of bags by log time."""
        for part in self._parts:
            if isinstance(part, Path):
                file = PictureFile(
                    partial(read_picture_file, part, self._max_bytes),
                    partial(self._decode, part), self._max_bytes)
                yield Source(part, file.frame, file.picture)
            elif isinstance(part, PictureStore):
                for name in part.listing.pictures:
                    file = part.file(name)
                    yield Source(part.root / name, file.frame, file.picture)
            elif isinstance(part, Video):
                for one in part.pictures():
                    yield Source(Path(part.name), one.decode, video=part, time_ns=one.time_ns)
                for line in part.warnings:
                    print_warning(line)
            else:
                # Imported here, as the reader is.
                from resnet_trt_node.bag.video_images import with_pictures
                for image in with_pictures(part.images(self._topics), self._max_bytes):
                    yield recorded_source(part, image, self._max_bytes)

    def name_width(self) -> int:
        """Return the width of the longest `Source.describe`."""
        widths = [text_width(str(part)) for part in self._parts if isinstance(part, Path)]
        widths += [text_width(str(store.root / name)) for store in self._parts
                   if isinstance(store, PictureStore) for name in store.listing.pictures]
        widths += [
            text_width(f'{video.name} {stamp_text(10**12)}') for video in self.videos]
        widths += [
            text_width(topic) + len(' ') + len(stamp_text(10**18))
            for bag in self.bags for topic in self.image_topics(bag)]
        return max(widths, default=0)

    def describe_several(self) -> str:
        """Return the line that says of how many pictures only one frame was read."""
        return describe_several(len(self._several) + sum(
            len(part.several) for part in self._parts if isinstance(part, PictureStore)))

    def _decode(self, path: Path, data: bytes) -> Frame:
        frame = decode_picture(data, str(path), max_bytes=self._max_bytes)
        if frame.of_several:
            self._several.add(path)
        return frame

    def close(self) -> None:
        """Close bags and zip files."""
        self._stack.close()

    def _add(self, path: Path) -> None:
        zipped = any(place.is_file() and place.suffix.lower() == '.zip'
                     for place in (path, *path.parents))
        if not path.exists() and not zipped:
            raise DataError(f'there is no {path}: name a picture, a folder, a video or a bag')
        if is_bag(path):
            # Imported here, since a machine that quantises pictures needs no bag library.
            from resnet_trt_node.bag.reader import BagReader
            bag = self._stack.enter_context(BagReader(path, print_warning))
            self.bags.append(bag)
            self._parts.append(bag)
            self.count += bag.image_count(self._topics)
        elif path.is_dir() or zipped:
            store = self._stack.enter_context(PictureStore(path, self._max_bytes))
            unread = count_unread(store.listing)
            if not store.listing.pictures:
                raise DataError('; '.join(filter(None, [
                    f'there are no pictures in {path}', describe_unread(unread)])))
            self.unread += unread
            self._parts.append(store)
            self.count += len(store.listing.pictures)
            if not store.is_zip:
                self.pictures += [path / name for name in store.listing.pictures]
        elif is_video(path):
            self._add_video(str(path))
        else:
            self._parts.append(path)
            self.pictures.append(path)
            self.count += 1

    def _add_video(self, word: str) -> None:
        video = Video(word, self._max_bytes)
        self.videos.append(video)
        self._parts.append(video)
        self.count += video.count


def recorded_source(bag: BagReader, image: BagImage, max_bytes: int) -> Source:
    """
    Return a recorded image as an input; what is assumed about it becomes a warning of the bag.

    :param bag: an open bag.
    :param image: one of it.
    :param max_bytes: memory that it may take, decoding included.
    """
    if has_floats(image.message):
        bag.warn_once(f'{bag.path}: {image.topic}: {FLOAT_ASSUMPTION}')
    return Source(
        bag.path, partial(decode_message, image.message, max_bytes=max_bytes),
        partial(picture_of_message, image.message, max_bytes=max_bytes), image)


def stamp_text(stamp_ns: int) -> str:
    """Return a stamp in seconds with all nine digits of its nanoseconds."""
    return f'{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}'


def _check_picture(path: Path) -> None:
    """Check the first bytes, so that a wrong file among thousands is found at once."""
    try:
        with open_regular(path) as file:
            start = file.read(START_BYTES)
        if is_picture(start, path.suffix):
            return
        reason = what_is_missing(start) or 'it does not start like one'
    except OSError as error:
        reason = error.strerror or str(error)
    raise FrameError(
        f'{path} is not a picture that can be read ({reason}): leave it out, or skip such '
        'files with --skip-bad')
