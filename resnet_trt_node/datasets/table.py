"""
Tables of pictures and their classes, as spreadsheets and other programs write them.

Tabs, commas, semicolons or spaces separate the cells. A class is an index, a name of the model's
or a WordNet id. A table that could be read in two ways is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

from resnet_trt_node.datasets.class_words import choose_reading, ClassWords, NUMBERS, Reading
from resnet_trt_node.datasets.table_cells import (
    Cells, FORM, possible_separators, split_at_spaces, split_cells)
from resnet_trt_node.errors import DataError
from resnet_trt_node.text.printable import printable, some

_SHOWN = 80
_SEPARATORS = {',': 'commas', ';': 'semicolons', ' ': 'spaces'}
_IsThere = Callable[[str], bool]


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


@dataclass(frozen=True)
class Table:
    """
    What a table says.

    :param items: its pictures, in its order.
    :param assumptions: how it was read where that is not the plain form, each in words.
    """

    items: tuple[LabelledPicture, ...]
    assumptions: tuple[str, ...] = ()


def parse_table(
        text: str, classes: ClassWords, where: str,
        is_there: _IsThere = lambda name: True) -> Table:
    """
    Read a table of files and classes.

    :param text: its text; blank lines are ignored. A first line may name the columns, which can
        then stand in any order among others.
    :param classes: of the model.
    :param where: what the table is called in messages.
    :param is_there: tells whether there is a file of a name; asked where a line can be split in
        several ways.
    :raises DataError: if a line is malformed, a class is unknown, a file is named twice, there is
        none, or the table could be read in two ways.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1)
             if line.strip('\t ,;')]
    found: dict[tuple[LabelledPicture, ...], Table] = {}
    problem = None
    for separator in possible_separators(lines):
        try:
            table = _read(lines, separator, classes, where, is_there)
        except DataError as error:
            problem = problem or error
        else:
            found.setdefault(table.items, table)
    tables = list(found.values())
    if not tables:
        assert problem is not None
        raise problem
    if len(tables) > 1:
        there = [sum(is_there(item.name) for item in one.items) for one in tables]
        # Where no file is there in any way, that is what is to be said of it.
        tables = [one for one, number in zip(tables, there) if number == max(there) > 0] or \
            tables[:1]
    if len(tables) > 1:
        first, second = (printable(repr(one.items[0].name), _SHOWN) for one in tables[:2])
        raise DataError(
            f'{where} could be read in two ways, with {first} or {second} as its first file: '
            f'{FORM}')
    return tables[0]


def _read(
        lines: Sequence[tuple[int, str]], separator: str, classes: ClassWords, where: str,
        is_there: _IsThere) -> Table:
    """Read a table with one separator between its cells."""
    cells = split_at_spaces(lines, classes, where, is_there) if separator == ' ' else \
        split_cells(lines, separator, where)
    if not cells.rows:
        raise DataError(f'{where} has no labelled pictures: {FORM}')
    targets, kind = _targets(cells, classes, where)
    seen: dict[str, int] = {}
    for row in cells.rows:
        if row.file in seen:
            raise DataError(
                f'{where}, line {row.line}: {row.file} stands on line {seen[row.file]} already')
        seen[row.file] = row.line
    return Table(
        tuple(LabelledPicture(_as_here(row.file, is_there), target)
              for row, target in zip(cells.rows, targets)),
        _assumptions(separator, kind, cells, where))


def _targets(cells: Cells, classes: ClassWords, where: str) -> tuple[list[int], str]:
    """Return the classes of the rows, and how the first column of them was read."""
    columns: list[list[int]] = []
    kinds = []
    for place, allowed in enumerate(cells.kinds):
        words = [row.words[place] for row in cells.rows]
        reading = choose_reading(classes.readings(words, allowed), words, where)
        kinds.append(reading.kind)
        columns.append([
            _target(reading, row.words[place], f'{where}, line {row.line}', classes)
            for row in cells.rows])
    for other, column in enumerate(columns[1:], start=1):
        for row, one, two in zip(cells.rows, columns[0], column):
            if one != two:
                raise DataError(
                    f'{where}, line {row.line}: {row.words[0]!r} is class {one} and '
                    f'{row.words[other]!r} class {two}: leave one of the columns out')
    return columns[0], kinds[0]


def _target(reading: Reading, word: str, place: str, classes: ClassWords) -> int:
    if word in reading.places:
        return reading.places[word]
    if reading.kind == NUMBERS and word.lstrip('-').isdigit():
        raise DataError(
            f'{place}: class {printable(word, _SHOWN)} is out of range, {classes.describe()}')
    raise DataError(
        f'{place}: {printable(repr(word), _SHOWN)} is not a class of the model: '
        f'{classes.describe()}')


def _as_here(name: str, is_there: _IsThere) -> str:
    r"""Return a file's name with '/' in it, where Windows wrote 'cat\1.jpg'."""
    plain = name.replace('\\', '/')
    return plain if plain != name and not is_there(name) and is_there(plain) else name


def _assumptions(separator: str, kind: str, cells: Cells, where: str) -> tuple[str, ...]:
    notes = []
    if separator in _SEPARATORS:
        notes.append(f'cells separated by {_SEPARATORS[separator]}')
    if kind != NUMBERS:
        notes.append(f'classes given by {kind}')
    if cells.unused:
        shown = [printable(repr(name), _SHOWN) for name in cells.unused]
        notes.append(f'columns that are not used: {some(shown)}')
    return (f'{where} was read as {", ".join(notes)}',) if notes else ()
