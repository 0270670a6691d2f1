"""Class names from a table of comma- or tab-separated values: which column is which."""

from __future__ import annotations

import csv
import io
import re
from typing import Callable, Optional, Sequence

from resnet_trt_node.errors import LabelsError
from resnet_trt_node.text.printable import printable, some

#: Heads of columns, lower case; '' is that of the row numbers that pandas writes.
_INDICES = frozenset({
    'id', 'index', 'idx', 'number', 'class_id', 'class_index', 'class_idx', 'class_number',
    'label_id', 'label_index', 'label_idx', 'category_id', 'target', ''})
_NAMES = frozenset({
    'name', 'names', 'class_name', 'classname', 'class_names', 'classes', 'label_name',
    'label_names', 'labels', 'display_name', 'category_name'})
_EITHER = frozenset({'class', 'label', 'category'})
#: First words of a first line that names columns.
HEADERS = _INDICES.union(_NAMES, _EITHER) - {''}
WORDNET_ID = re.compile(r'n[0-9]{8}')
_NUMBER = re.compile(r'[0-9]{1,9}')
_HEAD = 'name the columns index and name in the first line'
_Pair = tuple[int, str]
_Column = list[str]


def read_rows(text: str, delimiter: str) -> list[list[str]]:
    """
    Return the cells of a table's lines, without blank lines.

    :raises csv.Error: if a quoted cell does not end.
    """
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    return [[cell.strip() for cell in row] for row in reader if any(map(str.strip, row))]


def numbered_names(
        rows: Sequence[Sequence[str]], where: str, say: Callable[[str], None]) -> list[_Pair]:
    """
    Return number and name of each line of a table of several columns.

    :param rows: its cells, see `read_rows`.
    :param where: what it is called in messages.
    :param say: told what was assumed.
    :raises LabelsError: if lines have different numbers of cells, or the columns cannot be told
        apart.
    """
    if len({len(row) for row in rows}) != 1:
        raise LabelsError(
            f'{where}: a table of class names has the same columns on every line, index and '
            'name: write one name a line in the order of the output, or number all classes from '
            '0')
    head = [cell.lower() for cell in rows[0]] if _is_head(rows) else None
    columns = [list(column) for column in zip(*rows[0 if head is None else 1:])]
    numbers = [place for place, column in enumerate(columns) if all(map(_is_number, column))]
    index = _index_column(head, columns, numbers, where)
    name = _name_column(head, columns, numbers, index, where)
    unused = [place for place in range(len(columns)) if place not in (index, name)]
    if unused and head is not None:
        shown = [printable(repr(head[place]), 40) for place in unused]
        say(f'{where}: the names are those of column {head[name]!r}; not used: {some(shown)}')
    elif unused:
        say(f'{where}: the names are those of column {name + 1}; '
            f'not used: {some([f"column {place + 1}" for place in unused])}')
    if index is None:
        say(f'{where}: no column numbers the classes; they are taken in the order of the lines')
        return list(enumerate(columns[name]))
    return [(int(number), word) for number, word in zip(columns[index], columns[name])]


def _is_head(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first line names the columns."""
    first, rest = rows[0], rows[1:]
    if not rest or any(map(_is_number, first)):
        return False
    known = [cell.lower() in HEADERS for cell in first]
    return any(known) or any(
        all(_is_number(row[place]) for row in rest) for place in range(len(first)))


def _index_column(
        head: Optional[Sequence[str]], columns: Sequence[_Column], numbers: Sequence[int],
        where: str) -> Optional[int]:
    """Return which column numbers the classes, None if none does."""
    found = list(numbers)
    if head is not None:
        named = [place for place, word in enumerate(head) if word in _INDICES]
        wrong = next((place for place in named if place not in numbers and head[place]), None)
        if wrong is not None and head[wrong] in ('class_index', 'class_id', 'index', 'idx'):
            raise LabelsError(
                f'{where}: column {head[wrong]!r} does not hold numbers alone: number all classes '
                'from 0')
        found = [place for place in found if head[place] in _INDICES | _EITHER] or found
        # What pandas adds numbers the lines, which another column may not agree with.
        found = [place for place in found if head[place]] or found
    if len(found) > 1:
        # Such as WordNet's or a count beside it.
        whole = [place for place in found if sorted(map(int, columns[place])) == list(
            range(len(columns[place])))]
        found = whole or found
    if len({tuple(columns[place]) for place in found}) > 1:
        both = 'both columns are' if len(columns) == 2 else f'columns {_list(found)} are'
        raise LabelsError(
            f'{where}: {both} numbers, so the index cannot be told from the name: {_HEAD}')
    return found[0] if found else None


def _name_column(
        head: Optional[Sequence[str]], columns: Sequence[_Column], numbers: Sequence[int],
        index: Optional[int], where: str) -> int:
    """Return which column holds the names."""
    found = [place for place in range(len(columns)) if place != index]
    if head is not None:
        found = [place for place in found if head[place] in _NAMES] or [
            place for place in found if head[place] in _EITHER and place not in numbers] or [
            place for place in found if place not in numbers]
    elif index is None:
        found = []
    if len(found) > 1:
        found = [place for place in found if not all(
            map(WORDNET_ID.fullmatch, columns[place]))] or found
    if not found:
        raise LabelsError(
            f'{where}: no column is numbers, so the index cannot be told from the name: {_HEAD}'
            if index is None else f'{where}: no column holds names: {_HEAD}')
    if len(found) > 1:
        raise LabelsError(
            f'{where}: a table of class names has two columns, index and name; columns '
            f'{_list(found)} of this one could both be the names: {_HEAD}')
    return found[0]


def _list(places: Sequence[int]) -> str:
    return ' and '.join(str(place + 1) for place in places)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None
