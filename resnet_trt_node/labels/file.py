"""
Class names from a file: one per line, or with the number of each class.

Numbers are obeyed in every usual form: `2 bird` or `bird 2` on a line, columns of a table, a
mapping such as id2label in JSON or YAML. A list whose numbers are not 0 to C - 1, each once, is
refused: nobody could say which output a name belongs to.
"""

from __future__ import annotations

import codecs
import csv
from functools import partial
import json
from pathlib import Path
import re
from typing import Any, Callable, Iterable, Sequence, Union

from resnet_trt_node.errors import LabelsError
from resnet_trt_node.labels.document import Names, names_of_document
from resnet_trt_node.labels.names import check_labels, HOW_TO_NUMBER, ordered, tell_apart
from resnet_trt_node.labels.table import HEADERS, numbered_names, read_rows
from resnet_trt_node.regular_file import read_regular
import yaml

_MAX_BYTES = 16 << 20
_NUMBER = r'[0-9]{1,9}'
_NUMBER_FIRST = re.compile(
    rf'(?P<number>{_NUMBER})(?:\s*[,;:=|]\s*|\.\s+|\s+-\s+|\s+)(?P<name>\S.*)')
_NUMBER_LAST = re.compile(rf'(?P<name>\S.*?)\s*[,;:=|\t]\s*(?P<number>{_NUMBER})')
_NUMBER_LAST_AFTER_SPACE = re.compile(rf'(?P<name>\S.*?)\s+(?P<number>{_NUMBER})')
_Pair = tuple[int, str]


def read_labels(
        path: Union[str, Path], say: Callable[[str], None] = lambda line: None
) -> tuple[str, ...]:
    """
    Read class names.

    :param path: a UTF-8 text file, a byte-order mark is allowed; trailing blank lines are ignored.
        It has one name a line in the order of the model's output, or numbers its names: on each
        line, in a column of a .csv or .tsv table, or in a list or mapping in JSON or YAML.
    :param say: told in a line what was assumed, where a file does not say it.
    :returns: the names in the order of the output; those that stand there twice get their number,
        such as 'crane (134)'.
    :raises LabelsError: if the file is unreadable, a name is blank, or the numbers are not 0
        to C - 1.
    """
    text, ending, where = _text(path), Path(path).suffix.lower(), str(path)
    if ending in ('.json', '.yaml', '.yml') or text.lstrip()[:1] in ('{', '['):
        names = listed(names_of_document(_parsed(text, ending, where), where, say), where)
    elif ending in ('.csv', '.tsv'):
        names = _of_table(text, ending, where, say)
    else:
        # splitlines() would also split at characters that may stand in a name, such as U+0085.
        lines = [line.strip() for line in text.rstrip().split('\n')] if text.strip() else []
        names = _of_lines(lines, where)
    return check_labels(tell_apart(names), where)


def listed(names: Names, where: str) -> list[str]:
    """
    Return names of a document in the order of their numbers, which may be part of them.

    :param names: see `labels.document`.
    :param where: what holds them, for messages.
    :raises LabelsError: if the numbers are not 0 to C - 1.
    """
    plain = [one for one in names if isinstance(one, str)]
    if len(plain) == len(names):
        return _of_lines(plain, where)
    return ordered([one for one in names if not isinstance(one, str)], where)


def _text(path: Union[str, Path]) -> str:
    try:
        # Editors on Windows put a byte-order mark in front; it is no part of the first name.
        data = read_regular(path, _MAX_BYTES)
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode('utf-16' if wide else 'utf-8-sig')
    except OSError as error:
        raise LabelsError(f'cannot read labels {path}: {error.strerror or error}') from error
    except UnicodeDecodeError as error:
        raise LabelsError(f'labels {path} are not UTF-8 text: one class name a line') from error


def _of_lines(lines: Sequence[str], where: str) -> list[str]:
    """Return the names of lines, of which all carry a number or none does."""
    pairs, without = _numbered(_NUMBER_FIRST, lines)
    if (len(without) == 1 and len(lines) > 2) or (
            0 < len(without) < len(lines) / 2 and _is_numbering(pairs, range(len(lines)))):
        line = lines[without[0]]
        if without != [0] or re.split(r'[\s,;:=|]', line.lower())[0] not in HEADERS:
            raise LabelsError(
                f'{where}, line {without[0] + 1}: {line!r} has no number, other names have one: '
                f'{HOW_TO_NUMBER}')
        lines = lines[1:]
    for form, is_sure in (
            (_NUMBER_FIRST, True), (_NUMBER_LAST, True), (_NUMBER_LAST_AFTER_SPACE, False)):
        pairs, without = _numbered(form, lines)
        # 'class 0' and 'Boeing 737' are names; 'cat 1', 'dog 0' are numbered ones.
        if pairs and not without and (is_sure or _is_counted(pairs)):
            return ordered(pairs, where)
    _refuse_other_numbering(lines, where)
    return list(lines)


def _numbered(form: re.Pattern[str], lines: Sequence[str]) -> tuple[list[_Pair], list[int]]:
    """Return number and name of the lines of a form, and the places of the other lines."""
    found = [form.fullmatch(line) for line in lines]
    return ([(int(one['number']), one['name']) for one in found if one],
            [place for place, one in enumerate(found) if one is None])


def _refuse_other_numbering(lines: Sequence[str], where: str) -> None:
    """Refuse numbers in a form that is not read, such as `(2) bird`, if lines are out of order."""
    runs = [list(re.finditer(r'\d+', line)) for line in lines]
    for place in (0, -1) if lines and all(runs) else ():
        pairs = [
            (int(run[place][0]) if len(run[place][0]) < 10 else -1,
             line[:run[place].start()] + line[run[place].end():])
            for line, run in zip(lines, runs)]
        numbers = [number for number, _ in pairs]
        if numbers != sorted(numbers) and _is_counted(pairs):
            raise LabelsError(
                f'{where}: its lines hold the numbers {min(numbers)} to {max(numbers)} in another '
                f'order, in a form that is not read, such as {lines[0]!r}: {HOW_TO_NUMBER}')


def _is_counted(pairs: Sequence[_Pair]) -> bool:
    """Tell whether different names have all numbers from 0 or 1 on."""
    lowest = min(number for number, _ in pairs)
    return lowest in (0, 1) and _is_numbering(pairs, range(lowest, lowest + len(pairs)))


def _is_numbering(pairs: Sequence[_Pair], numbers: range) -> bool:
    """Tell whether different names have different numbers of these."""
    return len({name for _, name in pairs}) == len({number for number, _ in pairs}) == len(
        pairs) and all(number in numbers for number, _ in pairs)


def _of_table(
        text: str, ending: str, where: str, say: Callable[[str], None]) -> list[str]:
    """Return the names of a table of one column, or of several of which one holds numbers."""
    head = text.split('\n', 1)[0]
    delimiter = '\t' if ending == '.tsv' else ';' if ';' in head and ',' not in head else ','
    try:
        rows = read_rows(text, delimiter)
    except csv.Error as error:
        raise LabelsError(f'{where} is not a table ({error}): {HOW_TO_NUMBER}') from error
    if any(len(row) > 1 for row in rows):
        return ordered(numbered_names(rows, where, say), where)
    names = [row[0] for row in rows]
    if names and names[0].lower() in HEADERS:
        say(f'{where}: {names[0]!r} on the first line is taken for the head of the column')
        names = names[1:]
    return _of_lines(names, where)


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
    readers: list[Callable[[str], Any]] = [partial(json.loads, object_pairs_hook=_unique)]
    if ending != '.json':
        # Of safe_load's own kind.
        readers.append(partial(yaml.load, Loader=_Loader))
    error: Exception
    for read in readers:
        try:
            return read(text)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError) as failure:
            error = failure
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    raise LabelsError(f'{where} cannot be read as {"JSON" if ending == ".json" else "YAML"} '
                      f'({cause}): {HOW_TO_NUMBER}') from error
