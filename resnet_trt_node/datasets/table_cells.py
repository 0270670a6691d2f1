"""Splits a table of pictures and classes into cells: separators, a header, file names in cells."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
import re
from typing import Callable, Iterator, Sequence

from resnet_trt_node.datasets.class_words import ClassWords, NAMES, NUMBERS, WORDNET
from resnet_trt_node.errors import DataError
from resnet_trt_node.text.printable import printable

FORM = 'write file<TAB>class on each line'
#: Words that head the column of files, the surest first: 'id' beside 'file' counts the lines.
_FILES = (
    'file', 'filename', 'file_name', 'filenames', 'filepath', 'file_path', 'fname', 'path',
    'image', 'image_name', 'image_path', 'img', 'picture', 'image_id', 'imageid', 'id')
#: Words that head columns of classes, by how these can be read.
_CLASSES = {
    **dict.fromkeys((
        'class_index', 'class_id', 'classid', 'class_idx', 'label_index', 'label_id', 'label_idx',
        'index', 'idx', 'target'), (NUMBERS,)),
    **dict.fromkeys((
        'class_name', 'classname', 'label_name', 'name', 'synset', 'wnid', 'wordnet_id'),
        (NAMES, WORDNET)),
    **dict.fromkeys(('class', 'label', 'labels', 'category'), ()),
}
_Lines = Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Row:
    """
    A line of a table.

    :param line: its number, from 1.
    :param file: the file.
    :param words: its class in each column of classes.
    """

    line: int
    file: str
    words: tuple[str, ...]


@dataclass
class Cells:
    """
    The cells of a table, for one separator.

    :param rows: its lines but the header.
    :param kinds: for each column of classes the ways in which it can be read, () for all.
    :param unused: heads of columns that say nothing of files and classes.
    """

    rows: list[Row] = field(default_factory=list)
    kinds: Sequence[tuple[str, ...]] = ((),)
    unused: Sequence[str] = ()


def possible_separators(lines: _Lines) -> tuple[str, ...]:
    """
    Return what may separate the cells of a table, by its first line.

    :param lines: those that are not blank, with their numbers.
    """
    first = lines[0][1].strip() if lines else ''
    if '\t' in first or any('\t' in line.strip() for _, line in lines[1:2]):
        # It is part of no name.
        return ('\t',)
    return tuple(one for one in (',', ';', ' ') if one in first) or ('\t',)


def split_cells(lines: _Lines, separator: str, where: str) -> Cells:
    """
    Split lines at a separator; the first may head the columns.

    :param lines: see `possible_separators`.
    :param separator: of one character.
    :param where: what the table is called in messages.
    :raises DataError: for a line that does not have as many cells as it needs.
    """
    rows = list(_cells(lines, separator, where))
    head = [cell.lower() for cell in rows[0][1]] if rows else []
    file, columns = _columns(head)
    if columns:
        rows, width = rows[1:], len(head)
        cells = Cells(kinds=[_CLASSES[head[place]] for place in columns], unused=[
            name for place, name in enumerate(head) if place not in (file, *columns)])
    else:
        file, columns, width, cells = 0, [1], 2, Cells()
        if head[:1] == ['file']:
            rows = rows[1:]
    for line, row in rows:
        if len(row) != width or not row[file]:
            raise DataError(
                f'{where}, line {line}: {len(row)} cells, '
                f'{"two" if width == 2 else width} are needed: {FORM}'
                + ('; a first line can name the columns, such as file and class'
                   if len(row) > width else ''))
        cells.rows.append(Row(line, row[file], tuple(row[place] for place in columns)))
    return cells


def _columns(head: Sequence[str]) -> tuple[int, list[int]]:
    """Return the places of the files and of the classes; of none if it is no header."""
    files = sorted(
        (place for place, name in enumerate(head) if name in _FILES),
        key=lambda place: _FILES.index(head[place]))
    columns = [place for place, name in enumerate(head) if name in _CLASSES]
    return (files[0], columns) if files and columns else (0, [])


def _cells(lines: _Lines, separator: str, where: str) -> Iterator[tuple[int, list[str]]]:
    if separator == '\t':
        # Quotes are part of a name there, as they always were.
        for number, line in lines:
            yield number, [cell.strip() for cell in line.split('\t')]
        return
    for number, line in lines:
        try:
            row, = csv.reader(
                [line.strip()], delimiter=separator, skipinitialspace=True, strict=True)
        except (csv.Error, ValueError) as error:
            raise DataError(
                f'{where}, line {number}: {printable(line, 80)!r} cannot be split at '
                f'{separator!r} ({error}): {FORM}') from error
        yield number, [cell.strip() for cell in row]


def split_at_spaces(
        lines: _Lines, classes: ClassWords, where: str,
        is_there: Callable[[str], bool]) -> Cells:
    """
    Split lines at the space before the class; files and class names may hold spaces.

    :param lines: see `possible_separators`.
    :param classes: of the model.
    :param where: what the table is called in messages.
    :param is_there: tells whether there is a file of a name; asked where several spaces fit.
    :raises DataError: if a line does not end with a class, or several spaces fit.
    """
    head = lines[0][1].lower().split() if lines else []
    file, columns = _columns(head)
    cells = Cells()
    if columns:
        if len(head) > 2 or file != 0:
            raise DataError(
                f'{where}, line 1: with spaces between them, the columns can be file and class '
                f'only: {FORM}')
        cells.kinds, lines = [_CLASSES[head[1]]], lines[1:]
    for number, line in lines:
        text = line.strip()
        pairs = [
            (text[:gap.start()], text[gap.end():]) for gap in re.finditer(r' +', text)]
        fits = [pair for pair in pairs if classes.knows(pair[1])]
        if len(fits) > 1:
            fits = [pair for pair in fits if is_there(pair[0])] or fits
        if len(fits) > 1:
            raise DataError(
                f'{where}, line {number}: {printable(text, 80)!r} could end with '
                f'{fits[0][1]!r} or {fits[1][1]!r}: {FORM}')
        if not fits and not pairs:
            raise DataError(f'{where}, line {number}: 1 cells, two are needed: {FORM}')
        name, word = (fits or pairs[-1:])[0]
        cells.rows.append(Row(number, name, (word,)))
    return cells
