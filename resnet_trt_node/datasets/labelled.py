"""Pictures whose class is known: a folder or zip file of them and a table of classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Union

from resnet_trt_node.closing import Closing
from resnet_trt_node.datasets.listing import count_unread
from resnet_trt_node.datasets.pictures import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.datasets.store import PictureStore, plain_name
from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.regular_file import read_regular

#: The table's name where none is given: it then lies among the pictures.
TABLE_NAME = 'labels.tsv'
#: A table of millions of pictures has less.
_MAX_TABLE_BYTES = 2**30
_FORM = 'write file<TAB>class index'


@dataclass(frozen=True)
class LabelledPicture:
    """
    One line of the table.

    :param name: the file, relative to the folder or zip file.
    :param target: its class, 0 to C - 1.
    """

    name: str
    target: int


class PictureSet(Closing):
    """
    Pictures of known classes in a folder or zip file; a context manager.

    :param root: see `PictureStore`.
    :param max_bytes: see there.
    :raises DataError: if it cannot be read.
    """

    #: The pictures.
    items: tuple[LabelledPicture, ...]
    #: How many files of each kind were not read, see `describe_unread`.
    unread: Counter[str]
    #: Pictures whose class is not known.
    unlabelled = 0

    def __init__(self, root: Union[str, Path], max_bytes: int) -> None:
        self.store = PictureStore(root, max_bytes)

    def frame(self, item: LabelledPicture) -> Frame:
        """
        Decode one picture.

        :raises FrameError: if it cannot be read or is not a picture.
        """
        return self.store.frame(item.name)

    def close(self) -> None:
        """Close the zip file; calling it again does nothing."""
        self.store.close()


class LabelledPictures(PictureSet):
    """
    Pictures in a folder or zip file, and a table of their classes.

    The table has one line for each picture, file<TAB>class index; a first line that starts with
    the word 'file' is its header, blank lines and a byte-order mark are ignored.

    :param images: a folder or a zip file.
    :param labels: the table; None takes `TABLE_NAME` from among the pictures.
    :param num_classes: C of the model.
    :param max_bytes: see `PictureStore`.
    :raises DataError: if the pictures or the table cannot be read, a line is malformed, a class
        is out of range, a file is named twice or is missing, or the table is empty.
    """

    def __init__(
            self, images: Union[str, Path], labels: Optional[Union[str, Path]],
            num_classes: int, max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        super().__init__(images, max_bytes)
        try:
            where, text = self._read_table(labels)
            # In the table's order.
            self.items = parse_table(text, num_classes, where)
            listing = self.store.listing
            self._check_missing({*listing.pictures, *listing.unread}, where)
        except BaseException:
            self.close()
            raise
        named = {plain_name(item.name) for item in self.items}
        self.unlabelled = sum(name not in named for name in listing.pictures)
        self.unread = count_unread(listing, *named, self._table_name(labels))

    def _read_table(self, labels: Optional[Union[str, Path]]) -> tuple[str, str]:
        """Return where the table is, for messages, and its text."""
        lacking = f'{labels or f"{TABLE_NAME} in {self.store.root}"}'
        try:
            if labels is not None:
                return str(labels), read_regular(labels, _MAX_TABLE_BYTES).decode('utf-8-sig')
            if TABLE_NAME not in self.store.file_names():
                raise FileNotFoundError
            where = lacking if self.store.is_zip else str(self.store.root / TABLE_NAME)
            return where, self.store.read(TABLE_NAME).decode('utf-8-sig')
        except FileNotFoundError as error:
            raise DataError(f'there is no {lacking}: give --labels a table, {_FORM}') from error
        except OSError as error:
            raise DataError(
                f'cannot read the table of classes {labels}: {error.strerror or error}') from error
        except FrameError as error:
            raise DataError(f'cannot read the table of classes: {error}') from error
        except UnicodeDecodeError as error:
            raise DataError(
                f'{labels or TABLE_NAME} is not UTF-8 text: {_FORM} on each line') from error

    def _table_name(self, labels: Optional[Union[str, Path]]) -> str:
        """Return the table's name among the pictures, '' if it is elsewhere."""
        if labels is None:
            return TABLE_NAME
        place, root = Path(labels).resolve(), self.store.root.resolve()
        return place.relative_to(root).as_posix() if root in place.parents else ''

    def _check_missing(self, present: set[str], where: str) -> None:
        missing = [
            item.name for item in self.items
            if (plain_name(item.name) not in present if self.store.is_zip
                else item.name not in present and not (self.store.root / item.name).is_file())]
        if missing:
            shown = ', '.join(missing[:3]) + (', ...' if len(missing) > 3 else '')
            raise DataError(
                f'{where} names {len(missing)} of {len(self.items)} files that are not in '
                f'{self.store.root}: {shown}')


def parse_table(text: str, num_classes: int, where: str) -> tuple[LabelledPicture, ...]:
    """
    Read a table of file<TAB>class index.

    :param text: its text.
    :param num_classes: C; classes are 0 to C - 1.
    :param where: what the table is called in messages.
    :raises DataError: if a line is malformed, a class is out of range, a file is named twice, or
        there is none.
    """
    items: list[LabelledPicture] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in line.split('\t')]
        if not any(cells) or (number == 1 and cells[0].lower() == 'file'):
            continue
        name, target = _parse_line(cells, f'{where}, line {number}')
        if not 0 <= target < num_classes:
            raise DataError(
                f'{where}, line {number}: class {target} is out of range, the model knows 0 to '
                f'{num_classes - 1}')
        if name in lines:
            raise DataError(
                f'{where}, line {number}: {name} stands on line {lines[name]} already')
        lines[name] = number
        items.append(LabelledPicture(name, target))
    if not items:
        raise DataError(f'{where} has no labelled pictures: {_FORM} on each line')
    return tuple(items)


def spread(items: Sequence[LabelledPicture], limit: int) -> tuple[LabelledPicture, ...]:
    """
    Return at most `limit` items, evenly spread, since tables are often sorted by class.

    :param items: a data set's items.
    :param limit: how many at most, at least 1.
    """
    if len(items) <= limit:
        return tuple(items)
    return tuple(items[place * len(items) // limit] for place in range(limit))


def _parse_line(cells: list[str], where: str) -> tuple[str, int]:
    if len(cells) != 2 or not cells[0]:
        raise DataError(f'{where}: {len(cells)} cells, two are needed: {_FORM}')
    try:
        return cells[0], int(cells[1])
    except ValueError as error:
        raise DataError(f'{where}: {cells[1]!r} is not a class index: {_FORM}') from error
