"""What `resnet_trt classify` is given: pictures, folders and bags, as one stream of frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

from resnet_trt_node.bag.messages import BagImage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.storage.names import is_bag
from resnet_trt_node.cli.support.console import print_warning, text_width
from resnet_trt_node.datasets.pictures import (
    find_pictures, MAX_FILE_IMAGE_BYTES, read_picture)
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.picture_formats import is_picture, START_BYTES
from resnet_trt_node.regular_file import open_regular


@dataclass(eq=False)
class Source:
    """
    One picture on its way through the model.

    :param path: the picture, or the bag that it is from.
    :param image: the recorded image if it is from a bag.
    :param max_bytes: memory that the picture may take, decoding included.
    :param frame: the decoded picture once `load` was called.
    """

    path: Path
    image: Optional[BagImage] = None
    max_bytes: int = MAX_FILE_IMAGE_BYTES
    frame: Optional[Frame] = field(default=None, repr=False)

    def load(self) -> Frame:
        """
        Decode the picture, and keep it for drawing.

        :raises FrameError: if it cannot be used.
        """
        self.frame = (
            read_picture(self.path, max_bytes=self.max_bytes) if self.image is None
            else decode_message(self.image.message, max_bytes=self.max_bytes))
        return self.frame

    def describe(self) -> str:
        """Return what tells it from the others: path, or topic and stamp in seconds."""
        if self.image is None:
            return str(self.path)
        return f'{self.image.topic} {stamp_text(self.image.stamp_ns)}'


class Inputs:
    """
    Everything that was named on the command line, checked; a context manager.

    :param words: pictures, folders of pictures, and bags.
    :param topics: image topics of the bags, None for all of them.
    :param max_bytes: memory that a picture may take, decoding included.
    :param check_pictures: refuse files that do not start like a picture, before any work.
    :raises DataError: if something is missing, or a folder has no pictures.
    :raises FrameError: if a file is not a picture.
    :raises BagError: if a bag cannot be read or lacks a topic.
    :raises UsageError: if topics are named and there is no bag.
    """

    def __init__(
            self, words: Sequence[str], topics: Optional[Sequence[str]],
            check_pictures: bool, max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        self._topics = topics
        self._max_bytes = max_bytes
        self._stack = ExitStack()
        self._parts: list[Union[Path, BagReader]] = []
        self.count = 0
        #: How many files of each kind in the folders are not read, see `describe_unread`.
        self.unread: Counter[str] = Counter()
        with self._stack:
            for word in words:
                if not word:
                    raise DataError('an INPUT is empty: name a picture, a folder or a bag')
                self._add(Path(word))
            if topics and not self.bags:
                raise UsageError('--topic chooses among the topics of a bag: no bag is given')
            if check_pictures:
                for path in self.pictures:
                    _check_picture(path)
            self._stack = self._stack.pop_all()  # all is well: the bags stay open

    @property
    def bags(self) -> list[BagReader]:
        """Return the bags, open until `close`."""
        return [part for part in self._parts if isinstance(part, BagReader)]

    @property
    def pictures(self) -> list[Path]:
        """Return the picture files."""
        return [part for part in self._parts if isinstance(part, Path)]

    @property
    def warnings(self) -> list[str]:
        """Return what is missing of the bags, as far as they were read."""
        return [line for bag in self.bags for line in bag.warnings]

    def image_topics(self, bag: BagReader) -> list[str]:
        """Return the topics of a bag that are classified."""
        return bag.image_topics() if self._topics is None else [
            name for name in bag.image_topics()
            if name in self._topics or name.lstrip('/') in self._topics]

    def __iter__(self) -> Iterator[Source]:
        """Yield every picture in the order of the command line; those of bags by log time."""
        for part in self._parts:
            if isinstance(part, Path):
                yield Source(part, None, self._max_bytes)
            else:
                for image in part.images(self._topics):
                    yield Source(part.path, image, self._max_bytes)

    def name_width(self) -> int:
        """Return the width of the longest `Source.describe`."""
        widths = [text_width(str(path)) for path in self.pictures]
        widths += [
            len(topic) + len(' ') + len(stamp_text(10**18))
            for bag in self.bags for topic in self.image_topics(bag)]
        return max(widths, default=0)

    def close(self) -> None:
        """Close the bags."""
        self._stack.close()

    def __enter__(self) -> Inputs:
        """Return the inputs themselves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bags."""
        self.close()

    def _add(self, path: Path) -> None:
        if not path.exists():
            raise DataError(f'there is no {path}: name a picture, a folder or a bag')
        if is_bag(path):
            bag = self._stack.enter_context(BagReader(path, print_warning))
            self._parts.append(bag)
            self.count += bag.image_count(self._topics)
            return
        found = find_pictures(path, self.unread)
        self._parts.extend(found)
        self.count += len(found)


def stamp_text(stamp_ns: int) -> str:
    """Return a stamp in seconds with all nine digits of its nanoseconds."""
    return f'{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}'


def _check_picture(path: Path) -> None:
    """Read the first bytes only, so that a wrong file among thousands is found at once."""
    try:
        with open_regular(path) as file:
            if is_picture(file.read(START_BYTES), path.suffix):
                return
        reason = 'it does not start like one'
    except OSError as error:
        reason = error.strerror or str(error)
    raise FrameError(
        f'{path} is not a picture that can be read ({reason}): leave it out, or skip such '
        'files with --skip-bad')
