"""Pictures that show any number of classes: a folder or zip file of them and a table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
import re
from typing import Iterator, Optional, Sequence, Union

from resnet_trt_node.datasets.labelled import PictureSet, read_table
from resnet_trt_node.datasets.names import TABLE_NAME
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.text.printable import printable

_FORM = 'write file<TAB>class;class on each line, or a first line of file and all class names ' \
    'over columns of 0 and 1'
#: What the first cell of a header is called.
_FILES = ('file', 'filename', 'file_name', 'image', 'image_name', 'picture', 'path', 'name')
_SHOWN = 80


@dataclass(frozen=True)
class MultiLabelTable:
    """
    What a table says.

    :param items: its pictures, in its order.
    :param assumptions: how it was read where it has no names, each in words.
    """

    items: tuple[MultiLabelPicture, ...]
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class MultiLabelPicture(LabelledPicture):
    """
    A picture that may show several classes.

    :param targets: the classes that it shows, rising; none for a picture of nothing known.
    """

    targets: tuple[int, ...] = ()


class MultiLabelPictures(PictureSet):
    """
    Pictures in a folder or zip file, and a table of the classes that each shows.

    :param images: a folder or a zip file.
    :param labels: the table, see `parse_multi_label_table`; None takes `TABLE_NAME` from among
        the pictures.
    :param classes: class names of the model.
    :param max_bytes: see `PictureStore`.
    :raises DataError: if the pictures or the table cannot be read, a class is unknown, or a file
        is named twice or is missing.
    """

    def __init__(
            self, images: Union[str, Path], labels: Optional[Union[str, Path]],
            classes: Sequence[str], max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        super().__init__(images, max_bytes)
        try:
            if labels is None:
                where = str(self.store.root / TABLE_NAME)
                text = self._own_table()
            else:
                where, text = str(labels), read_table(labels, f'give --labels a table, {_FORM}')
            table = parse_multi_label_table(text, classes, where)
            self.items = table.items
            self.assumptions += table.assumptions
            self._take_named(TABLE_NAME if labels is None else self._name_here(labels), where)
        except BaseException:
            self.close()
            raise

    def _own_table(self) -> str:
        try:
            if TABLE_NAME not in self.store.file_names():
                raise DataError(
                    f'there is no {TABLE_NAME} in {self.store.root}: give --labels a table, '
                    f'{_FORM}')
            return self.store.read(TABLE_NAME).decode('utf-8-sig')
        except FrameError as error:
            raise DataError(f'cannot read the table of classes: {error}') from error
        except UnicodeDecodeError as error:
            raise DataError(f'{TABLE_NAME} is not UTF-8 text: save it as UTF-8') from error


def parse_multi_label_table(
        text: str, classes: Sequence[str], where: str) -> MultiLabelTable:
    """
    Read a table of the classes that pictures show.

    Tabs separate the cells, or commas if there is no tab; as in CSV a cell may stand in quotes.
    The second cell has the classes, with ';' or '|' between them; it is empty, or not there, for a
    picture of none. Or the first line names classes, and each line has 0 or 1 for each of them.

    :param text: its text; blank lines are ignored, as is a first line that begins with 'file' or
        another word for it.
    :param classes: class names of the model. A class is a name, or an index if all are numbers
        that are no names.
    :param where: what the table is called in messages.
    :raises DataError: if a line is malformed, a class is unknown, a file is named twice, or there
        is none.
    """
    lines = list(_lines(text, where))
    names = {name: index for index, name in enumerate(classes)}
    columns: Optional[list[int]] = None
    assumptions: tuple[str, ...] = ()
    if lines and lines[0][1][0].lower() in _FILES:
        heads = lines.pop(0)[1][1:]
        if len(heads) > 1 or (heads and heads[0] in names):
            columns = [_index(head, names, f'{where}, line 1', classes) for head in heads]
            assumptions = (f'{where} was read as columns of 0 and 1 for classes: {len(columns)}',)
    words = {word for _, cells in lines for word in _words(cells[1:], names)}
    if columns is None and words and all(
            word not in names and re.fullmatch('[0-9]{1,9}', word) for word in words):
        assumptions = (f'{where} was read as classes given by index',)
        names = {str(index): index for index in range(len(classes))}
        names.update({word: int(word) for word in words if int(word) < len(classes)})
    items: list[MultiLabelPicture] = []
    seen: dict[str, int] = {}
    for number, cells in lines:
        place = f'{where}, line {number}'
        if cells[0] in seen:
            raise DataError(
                f'{place}: {printable(cells[0], _SHOWN)} stands on line {seen[cells[0]]} already: '
                'write all of its classes on one line, with ; between them')
        seen[cells[0]] = number
        if columns is None:
            if len(cells) > 2:
                raise DataError(f'{place}: {len(cells)} cells, two are needed: {_FORM}')
            targets = {_index(word, names, place, classes)
                       for word in _words(cells[1:], names)}
        else:
            targets = _marked(cells[1:], columns, place)
        items.append(MultiLabelPicture(cells[0], min(targets, default=-1), tuple(sorted(targets))))
    if not items:
        raise DataError(f'{where} has no labelled pictures: {_FORM}')
    return MultiLabelTable(tuple(items), assumptions)


def _lines(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not blank."""
    reader = csv.reader(
        text.splitlines(), delimiter='\t' if '\t' in text else ',', skipinitialspace=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not cells[0]:
                raise DataError(f'{where}, line {reader.line_num}: no file is named: {_FORM}')
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f'{where}, line {reader.line_num}: {error}') from error


def _words(cells: Sequence[str], names: dict[str, int]) -> list[str]:
    """Return the classes in cells; a cell that is the name of one is not taken apart."""
    words: list[str] = []
    for cell in cells:
        words += [cell] if cell in names else re.split('[;|]', cell)
    return [word.strip() for word in words if word.strip()]


def _index(word: str, names: dict[str, int], place: str, classes: Sequence[str]) -> int:
    if word not in names:
        raise DataError(
            f'{place}: {printable(repr(word), _SHOWN)} is not a class of the model: write names '
            f'as `resnet_trt inspect --all-labels` shows them, or 0 to {len(classes) - 1} for all')
    return names[word]


def _marked(cells: Sequence[str], columns: Sequence[int], place: str) -> set[int]:
    """Return the classes that a line marks with 1."""
    if len(cells) != len(columns) or not set(cells) <= {'0', '1', '0.0', '1.0'}:
        raise DataError(f'{place}: a 0 or 1 is needed for each of {len(columns)} classes')
    return {column for column, cell in zip(columns, cells) if float(cell)}
