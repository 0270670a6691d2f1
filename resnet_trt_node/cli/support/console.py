"""What commands print: progress bars, tables, JSON."""

from __future__ import annotations

import codecs
import json
import sys
from types import TracebackType
from typing import Any, Optional, Sequence, TextIO
import unicodedata

from resnet_trt_node.printable import printable, printable_json, printable_lines
from tqdm import tqdm

#: How much of a cell of a table is shown; paths are long and tell most at their end.
CELL_LIMIT = 1000


class Progress:
    """
    A progress bar on the error stream, and lines on the output that do not tear it.

    :param total: steps to come, None where nobody knows.
    :param unit: what a step is, such as 'picture'.
    :param quiet: no bar; there is none either where the error stream is not a terminal.
    """

    def __init__(self, total: Optional[int], unit: str, quiet: bool = False) -> None:
        self._bar = tqdm(
            total=total, unit=f' {unit}', leave=False, file=sys.stderr, dynamic_ncols=True,
            disable=True if quiet else None)

    def step(self, note: str = '') -> None:
        """
        Advance by one.

        :param note: shown behind the bar.
        """
        if note:
            self._bar.set_postfix_str(printable(note), refresh=False)
        self._bar.update()

    def say(self, line: str) -> None:
        """Print a line of the result on the output."""
        tqdm.write(printable_lines(line), file=sys.stdout)

    def warn(self, line: str) -> None:
        """Print a line on the error stream."""
        tqdm.write(printable_lines(line), file=sys.stderr)

    def __enter__(self) -> Progress:
        """Return the bar itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Take the bar away."""
        self._bar.close()


def write(line: str = '', file: Optional[TextIO] = None) -> None:
    """
    Print what is no JSON, which may quote files, models and messages; its line breaks stay.

    :param line: one line or several.
    :param file: None for the output.
    """
    print(printable_lines(line), file=file)


def print_warning(line: str) -> None:
    """Print a line on the error stream, without tearing a progress bar."""
    tqdm.write(f'warning: {printable(line, CELL_LIMIT)}', file=sys.stderr)


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document, with any Unicode as it is where the output is UTF-8."""
    # Of what another encoding lacks, the stream's own escapes would be no JSON.
    unicode = codecs.lookup(sys.stdout.encoding or 'utf-8').name == 'utf-8'
    print(printable_json(json.dumps(document, indent=2, ensure_ascii=not unicode)))


def table_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """
    Return cells as one line in columns.

    :param cells: texts; the last one may be of any width.
    :param widths: columns' widths as `text_width` counts, negative to align to the right.
    """
    padded = []
    shown = [printable(cell, CELL_LIMIT) for cell in cells]
    for cell, width in zip(shown, widths):
        space = ' ' * (abs(width) - text_width(cell))
        padded.append(space + cell if width < 0 else cell + space)
    return '  '.join([*padded, *shown[len(widths):]]).rstrip()


def text_width(text: str) -> int:
    """Return how many terminal cells a text takes as `table_row` shows it."""
    return sum(
        0 if unicodedata.combining(letter)
        else 2 if unicodedata.east_asian_width(letter) in 'WF' else 1
        for letter in printable(text, CELL_LIMIT))


def count_of(number: int, thing: str) -> str:
    """Return a number with its noun: '1 picture', '2 pictures', '2 classes'."""
    if number == 1:
        return f'{number} {thing}'
    return f'{number} {thing}es' if thing.endswith('s') else f'{number} {thing}s'
