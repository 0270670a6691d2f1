"""Pictures whose class is known: a folder or zip file of them and a table of classes."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Optional, Sequence, TYPE_CHECKING, Union

from resnet_trt_node.closing import Closing
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.class_words import ClassWords
from resnet_trt_node.datasets.listing import count_unread
from resnet_trt_node.datasets.names import TABLE_NAME
from resnet_trt_node.datasets.picture_file import PictureFile
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.table import LabelledPicture, parse_table
from resnet_trt_node.datasets.table_cells import FORM
from resnet_trt_node.datasets.zip_names import plain_name
from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.imaging.on_device.grid import Grid, plan_grid
from resnet_trt_node.imaging.resize import ResizeMethod, Resizer
from resnet_trt_node.regular_file import read_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A table of millions of pictures has less.
_MAX_TABLE_BYTES = 2**30


class RowWriter:
    """
    Brings pictures to the input of a model.

    :param spec: the model's.
    :param method: see `Resizer`.
    """

    def __init__(self, spec: ModelSpec, method: ResizeMethod) -> None:
        self._resizer = Resizer(spec.resize, method)

    def write(self, item: LabelledPicture, frame: Frame, row: NDArray[np.uint8]) -> None:
        """
        Write a decoded picture into a row of a batch.

        :param item: which.
        :param frame: its pixels.
        :param row: uint8 (H, W, 3), wholly overwritten.
        :raises FrameError: if it cannot be used.
        """
        self._resizer.resize(frame, row)

    def grid(self, item: LabelledPicture, height: int, width: int) -> Optional[Grid]:
        """
        Return how a device brings a picture to the row, None where it cannot.

        :param item: which.
        :param height: rows of the picture.
        :param width: pixels of a row.
        :raises FrameError: if it cannot be used.
        """
        return plan_grid(self._resizer.rule, height, width)


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
        #: What was assumed where names and classes were not given plainly, each in words.
        self.assumptions: tuple[str, ...] = self.store.assumptions

    def frame(self, item: LabelledPicture) -> Frame:
        """
        Decode one picture.

        :raises FrameError: if it cannot be read or is not a picture.
        """
        return self.store.frame(item.name)

    def file(self, item: LabelledPicture, keep: bool) -> PictureFile:
        """
        Return the file of a picture, which is read when it is asked for.

        :param item: which.
        :param keep: whether it keeps its frame, for several models.
        """
        return self.store.file(item.name, keep)

    def writer(self, spec: ModelSpec, method: ResizeMethod) -> RowWriter:
        """
        Return what brings pictures to the input of a model.

        :param spec: the model's.
        :param method: see `Resizer`.
        """
        return RowWriter(spec, method)

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
        missing = [name for name in named if not self._is_there(name)]
        if missing:
            shown = ', '.join(missing[:3]) + (', ...' if len(missing) > 3 else '')
            raise DataError(
                f'{where} names {len(missing)} of {len(named)} files that are not in '
                f'{self.store.root}: {shown}')
        plain = {plain_name(name) for name in named}
        self.unlabelled = sum(name not in plain for name in listing.pictures)
        self.unread = count_unread(listing, *plain, table)

    def _is_there(self, name: str) -> bool:
        """Tell whether there is a file of a name."""
        if self.store.is_zip:
            return plain_name(name) in self._present
        return name in self._present or (self.store.root / name).is_file()

    @cached_property
    def _present(self) -> frozenset[str]:
        listing = self.store.listing
        return frozenset((*listing.pictures, *listing.unread))

    def _name_here(self, table: Union[str, Path]) -> str:
        """Return a table's name among the pictures, '' if it is elsewhere."""
        place, root = Path(table).resolve(), self.store.root.resolve()
        return place.relative_to(root).as_posix() if root in place.parents else ''


class LabelledPictures(PictureSet):
    """
    Pictures in a folder or zip file, and a table of their classes.

    The table has one line for each picture, file<TAB>class index, or another form that
    `parse_table` reads; a byte-order mark is ignored.

    :param images: a folder or a zip file.
    :param labels: the table; None takes `TABLE_NAME` from among the pictures.
    :param classes: class names of the model, or their number, where the table can only have
        class indices.
    :param max_bytes: see `PictureStore`.
    :raises DataError: if the pictures or the table cannot be read, a line is malformed, a class
        is unknown, a file is named twice or is missing, or the table is empty.
    """

    def __init__(
            self, images: Union[str, Path], labels: Optional[Union[str, Path]],
            classes: Union[int, Sequence[str]], max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        super().__init__(images, max_bytes)
        try:
            where, text = self._read_table(labels)
            table = parse_table(text, ClassWords(classes), where, self._is_there)
            # In the table's order.
            self.items = table.items
            self.assumptions += table.assumptions
            self._take_named(TABLE_NAME if labels is None else self._name_here(labels), where)
        except BaseException:
            self.close()
            raise

    def _read_table(self, labels: Optional[Union[str, Path]]) -> tuple[str, str]:
        """Return where the table is, for messages, and its text."""
        if labels is not None:
            return str(labels), read_table(labels, f'give --labels a table, {FORM}')
        lacking = f'{TABLE_NAME} in {self.store.root}'
        try:
            if TABLE_NAME not in self.store.file_names():
                raise DataError(f'there is no {lacking}: give --labels a table, {FORM}')
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


def spread(items: Sequence[LabelledPicture], limit: int) -> tuple[LabelledPicture, ...]:
    """
    Return at most `limit` items, evenly spread, since tables are often sorted by class.

    :param items: a data set's items.
    :param limit: how many at most, at least 1.
    """
    if len(items) <= limit:
        return tuple(items)
    return tuple(items[place * len(items) // limit] for place in range(limit))
