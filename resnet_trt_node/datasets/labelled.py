"""Pictures whose class is known: a folder or zip file of them and a table of classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, TYPE_CHECKING, Union

from resnet_trt_node.closing import Closing
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.listing import count_unread
from resnet_trt_node.datasets.names import TABLE_NAME
from resnet_trt_node.datasets.store import PictureStore, plain_name
from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.imaging.resize import ResizeMethod, Resizer
from resnet_trt_node.regular_file import read_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

    @property
    def place(self) -> dict[str, Any]:
        """Return which one it is, for JSON."""
        return {'file': self.name}

    def describe(self) -> str:
        """Return which one it is, for messages."""
        return self.name


#: Writes a decoded picture into a row of a batch, uint8 (H, W, 3).
WriteRow = Callable[['LabelledPicture', Frame, 'NDArray[np.uint8]'], object]


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
    #: What one of them is called.
    noun = 'picture'

    def __init__(self, root: Union[str, Path], max_bytes: int) -> None:
        self.store = PictureStore(root, max_bytes)

    def frame(self, item: LabelledPicture) -> Frame:
        """
        Decode one picture.

        :raises FrameError: if it cannot be read or is not a picture.
        """
        return self.store.frame(item.name)

    def writer(self, spec: ModelSpec, method: ResizeMethod) -> WriteRow:
        """
        Return what writes decoded pictures into the batches of a model.

        :param spec: the model's.
        :param method: see `Resizer`.
        """
        resizer = Resizer(spec.resize, method)
        return lambda item, frame, row: resizer.resize(frame, row)

    def close(self) -> None:
        """Close the zip file; calling it again does nothing."""
        self.store.close()

    def _take_named(self, table: str, where: str) -> None:
        """
        Note which pictures the table does not name.

        :param table: the table's name among the pictures, '' if it is elsewhere.
        :param where: what the table is called in messages.
        :raises DataError: if it names files that are missing.
        """
        listing, named = self.store.listing, dict.fromkeys(item.name for item in self.items)
        present = {*listing.pictures, *listing.unread}
        missing = [
            name for name in named
            if (plain_name(name) not in present if self.store.is_zip
                else name not in present and not (self.store.root / name).is_file())]
        if missing:
            shown = ', '.join(missing[:3]) + (', ...' if len(missing) > 3 else '')
            raise DataError(
                f'{where} names {len(missing)} of {len(named)} files that are not in '
                f'{self.store.root}: {shown}')
        plain = {plain_name(name) for name in named}
        self.unlabelled = sum(name not in plain for name in listing.pictures)
        self.unread = count_unread(listing, *plain, table)

    def _name_here(self, table: Union[str, Path]) -> str:
        """Return a table's name among the pictures, '' if it is elsewhere."""
        place, root = Path(table).resolve(), self.store.root.resolve()
        return place.relative_to(root).as_posix() if root in place.parents else ''


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
            self._take_named(TABLE_NAME if labels is None else self._name_here(labels), where)
        except BaseException:
            self.close()
            raise

    def _read_table(self, labels: Optional[Union[str, Path]]) -> tuple[str, str]:
        """Return where the table is, for messages, and its text."""
        if labels is not None:
            return str(labels), read_table(labels, f'give --labels a table, {_FORM}')
        lacking = f'{TABLE_NAME} in {self.store.root}'
        try:
            if TABLE_NAME not in self.store.file_names():
                raise DataError(f'there is no {lacking}: give --labels a table, {_FORM}')
            where = lacking if self.store.is_zip else str(self.store.root / TABLE_NAME)
            return where, self.store.read(TABLE_NAME).decode('utf-8-sig')
        except FrameError as error:
            raise DataError(f'cannot read the table of classes: {error}') from error
        except UnicodeDecodeError as error:
            raise DataError(f'{TABLE_NAME} is not UTF-8 text: save it as UTF-8') from error


def read_table(path: Union[str, Path], remedy: str) -> str:
    """
    Return the text of a table, without a byte-order mark.

    :param path: the file.
    :param remedy: what to do if there is none.
    :raises DataError: if there is none, or it cannot be read.
    """
    try:
        return read_regular(path, _MAX_TABLE_BYTES).decode('utf-8-sig')
    except FileNotFoundError as error:
        raise DataError(f'there is no {path}: {remedy}') from error
    except OSError as error:
        raise DataError(
            f'cannot read the table of classes {path}: {error.strerror or error}') from error
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not UTF-8 text: save it as UTF-8') from error


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
