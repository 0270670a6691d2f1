"""
Class names from a file: one a line, or with the number of each class.

Numbers are obeyed in every usual form: `2 bird` or `bird 2` on a line, two columns of a table, a
mapping such as id2label in JSON or YAML. A list whose numbers are not 0 to C - 1, each once, is
refused: nobody could say which output a name belongs to.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
import re
from typing import Any, Iterable, Optional, Sequence, Union

from resnet_trt_node.errors import LabelsError
from resnet_trt_node.labels import check_labels, tell_apart
from resnet_trt_node.regular_file import read_regular
import yaml

_MAX_BYTES = 16 << 20
_HOW = 'write one name a line in the order of the output, or number all classes from 0'
_NUMBER = r'[0-9]{1,9}'
_NUMBER_FIRST = re.compile(
    rf'({_NUMBER})(?:\s*[,;:=|]\s*|\.\s+|\s+-\s+|\s+)(\S.*)')
_NUMBER_LAST = re.compile(rf'(\S.*?)\s*[,;:=|\t]\s*({_NUMBER})')
_NUMBER_LAST_AFTER_SPACE = re.compile(rf'(\S.*?)\s+({_NUMBER})')
#: First words of a table's first line that name a column.
_HEADERS = frozenset({
    'id', 'index', 'idx', 'number', 'class', 'class_id', 'class_index', 'class_name', 'label',
    'labels', 'name', 'names', 'classes'})
#: Where other programs keep the names within a larger document, the surest first.
_KEYS = ('id2label', 'label2id', 'names', 'class_names', 'classes', 'labels')
_ID_KEYS, _NAME_KEYS = ('id', 'index', 'class_id'), ('name', 'label', 'class_name')
_Pair = tuple[int, str]


def read_labels(path: Union[str, Path], count: Optional[int] = None) -> tuple[str, ...]:
    """
    Read class names.

    :param path: a UTF-8 text file, a byte-order mark is allowed; trailing blank lines are ignored.
        It has one name a line in the order of the model's output, or numbers its names: on each
        line, in a .csv or .tsv table of two columns, or in a list or mapping in JSON or YAML.
    :param count: how many names there must be, None for any number.
    :returns: the names in the order of the output; those that stand there twice get their number,
        such as 'crane (134)'.
    :raises LabelsError: if the file is unreadable, a name is blank, the numbers are not 0 to
        C - 1, or the count differs.
    """
    text, ending, where = _text(path), Path(path).suffix.lower(), str(path)
    if ending in ('.json', '.yaml', '.yml') or text.lstrip()[:1] in ('{', '['):
        names = _of_document(_parsed(text, ending, where), where)
    elif ending in ('.csv', '.tsv'):
        names = _of_table(text, ending, where)
    else:
        # splitlines() would also split at characters that may stand in a name, such as U+0085.
        lines = [line.strip() for line in text.rstrip().split('\n')] if text.strip() else []
        names = _of_lines(lines, where)
    return check_labels(tell_apart(names), count, where)


def _text(path: Union[str, Path]) -> str:
    try:
        # Editors on Windows put a byte-order mark in front; it is no part of the first name.
        return read_regular(path, _MAX_BYTES).decode('utf-8-sig')
    except OSError as error:
        raise LabelsError(f'cannot read labels {path}: {error.strerror or error}') from error
    except UnicodeDecodeError as error:
        raise LabelsError(f'labels {path} are not UTF-8 text: one class name a line') from error


def _of_lines(lines: Sequence[str], where: str) -> list[str]:
    """Return the names of lines, of which all carry a number or none does."""
    first = [_NUMBER_FIRST.fullmatch(line) for line in lines]
    without = [place for place, one in enumerate(first) if one is None]
    if len(without) == 1 and len(lines) > 2:
        line = lines[without[0]]
        if without != [0] or re.split(r'[\s,;:=|]', line.lower())[0] not in _HEADERS:
            raise _no_number(lines, without[0], where)
        first, without = first[1:], []
    if 0 < len(without) < len(lines) / 2 and _is_numbering(
            [(int(one[1]), one[2]) for one in first if one], range(len(lines))):
        raise _no_number(lines, without[0], where)
    if first and not without:
        return _ordered([(int(one[1]), one[2]) for one in first if one], where)
    last = [_NUMBER_LAST.fullmatch(line) for line in lines]
    if last and all(last):
        return _ordered([(int(one[2]), one[1]) for one in last if one], where)
    last = [_NUMBER_LAST_AFTER_SPACE.fullmatch(line) for line in lines]
    if last and all(last):
        pairs = [(int(one[2]), one[1]) for one in last if one]
        numbers, names = sorted(pair[0] for pair in pairs), {pair[1] for pair in pairs}
        # 'class 0' and 'Boeing 737' are names; 'cat 1', 'dog 0' are numbered ones.
        if len(names) == len(pairs) and numbers[0] < 2 and (
                numbers == list(range(numbers[0], numbers[0] + len(numbers)))):
            return _ordered(pairs, where)
    _refuse_other_numbering(lines, where)
    return list(lines)


def _refuse_other_numbering(lines: Sequence[str], where: str) -> None:
    """Refuse numbers in a form that is not read, such as `(2) bird`, if lines are out of order."""
    runs = [list(re.finditer(r'\d+', line)) for line in lines]
    for place in (0, -1) if lines and all(runs) else ():
        pairs = [
            (int(run[place][0]) if len(run[place][0]) < 10 else -1,
             line[:run[place].start()] + line[run[place].end():])
            for line, run in zip(lines, runs)]
        numbers = [number for number, _ in pairs]
        low = min(numbers)
        if low in (0, 1) and numbers != sorted(numbers) and _is_numbering(
                pairs, range(low, low + len(pairs))):
            raise LabelsError(
                f'{where}: its lines hold the numbers {low} to {max(numbers)} in another order, '
                f'in a form that is not read, such as {lines[0]!r}: {_HOW}')


def _is_numbering(pairs: Sequence[_Pair], numbers: range) -> bool:
    """Tell whether different names have different numbers of these."""
    return len({name for _, name in pairs}) == len({number for number, _ in pairs}) == len(
        pairs) and all(number in numbers for number, _ in pairs)


def _no_number(lines: Sequence[str], place: int, where: str) -> LabelsError:
    return LabelsError(
        f'{where}, line {place + 1}: {lines[place]!r} has no number, other names have one: {_HOW}')


def _of_table(text: str, ending: str, where: str) -> list[str]:
    """Return the names of a table of one column, or of two of which one holds numbers."""
    head = text.split('\n', 1)[0]
    delimiter = '\t' if ending == '.tsv' else ';' if ';' in head and ',' not in head else ','
    try:
        reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
        rows = [[cell.strip() for cell in row] for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise LabelsError(f'{where} is not a table ({error}): {_HOW}') from error
    if {len(row) for row in rows} <= {1}:
        if rows and rows[0][0].lower() in _HEADERS:
            raise LabelsError(
                f'{where}: {rows[0][0]!r} on the first line looks like the head of a table: leave '
                'that line out')
        return _of_lines([row[0] for row in rows], where)
    if {len(row) for row in rows} != {2}:
        raise LabelsError(
            f'{where}: a table of class names has two columns, index and name, on every line; '
            f'{_HOW}')
    if len(rows) > 1 and not any(_is_number(cell) for cell in rows[0]) and all(
            any(_is_number(cell) for cell in row) for row in rows[1:]):
        rows = rows[1:]
    columns = [all(_is_number(row[place]) for row in rows) for place in (0, 1)]
    if columns[0] == columns[1]:
        raise LabelsError(
            f'{where}: {"both columns are" if columns[0] else "no column is"} numbers, so the '
            f'index cannot be told from the name: {_HOW}')
    place = columns.index(True)
    return _ordered([(int(row[place]), row[1 - place]) for row in rows], where)


def _of_document(found: Any, where: str) -> list[str]:
    """Return the names of what a JSON or YAML file holds."""
    if isinstance(found, dict):
        inner = next((found[key] for key in _KEYS if isinstance(found.get(key), (dict, list))),
                     None)
        found = found if inner is None else inner
    if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
        return _of_lines([one.strip() for one in found], where)
    pairs = [_pair(one) for one in (found.items() if isinstance(found, dict) else found)] if (
        isinstance(found, (dict, list))) else []
    if not pairs or None in pairs:
        raise LabelsError(
            f'{where} holds neither a list of names nor a mapping between numbers and names: '
            f'{_HOW}; put names such as no, yes or 3 in quotes')
    return _ordered([pair for pair in pairs if pair is not None], where)


def _pair(item: Any) -> Optional[_Pair]:
    """Return number and name of an item in any of its forms, None if it has neither."""
    if isinstance(item, dict):
        sides = [next((item[key] for key in keys if key in item), None)
                 for keys in (_ID_KEYS, _NAME_KEYS)]
    else:
        sides = list(item) if isinstance(item, (list, tuple)) else []
    if len(sides) != 2:
        return None
    for number, name in (sides, sides[::-1]):
        if isinstance(name, list) and name and all(isinstance(one, str) for one in name):
            # As in Keras's imagenet_class_index.json: WordNet's number, then the name.
            name = name[-1]
        # A JSON object's keys are text always.
        if isinstance(name, str) and (type(number) is int or (
                isinstance(number, str) and _is_number(number))):
            return int(number), name.strip()
    return None


def _ordered(pairs: Sequence[_Pair], where: str) -> list[str]:
    """Return names in the order of their numbers, which must be 0 to C - 1, each once."""
    numbers = [number for number, _ in pairs]
    if sorted(numbers) != list(range(len(numbers))):
        twice = next((one for one in numbers if numbers.count(one) > 1), None)
        lacking = next(one for one in range(len(numbers) + 1) if one not in set(numbers))
        problem = (
            f'number {lacking} is missing' if twice is None else f'{twice} stands there twice')
        raise LabelsError(
            f'{where}: its {len(numbers)} names are numbered, but not 0 to {len(numbers) - 1} '
            f'({problem}): {_HOW}')
    return [name for _, name in sorted(pairs)]


def _is_number(text: str) -> bool:
    return re.fullmatch(_NUMBER, text.strip()) is not None


class _Loader(yaml.SafeLoader):
    """Reads YAML without running anything; a key that stands twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping."""
        return _unique(
            (self.construct_object(key, deep=True),
             self.construct_object(value, deep=True))
            for key, value in node.value)


def _unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f'{key!r} stands there twice')
        found[key] = value
    return found


def _parsed(text: str, ending: str, where: str) -> Any:
    """Return what JSON or YAML text holds; a mapping as Python prints it is YAML."""
    error: Exception
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as failure:
        error = failure
    if ending != '.json':
        try:
            # Of safe_load's own kind.
            return yaml.load(text, Loader=_Loader)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as failure:
            error = failure
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise LabelsError(f'{where} cannot be read as {"JSON" if ending == ".json" else "YAML"} '
                      f'({cause}): {_HOW}') from error
