"""Console output of the commands: progress bars, tables, JSON."""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any, Iterable, Mapping, Optional, Sequence

from resnet_trt_node.closing import Closing
from resnet_trt_node.json_document import json_document
from resnet_trt_node.text.fitting import (
    cell_width, ellipsis, fit_terminal, shortened, terminal_width)
from resnet_trt_node.text.printable import LINE_LIMIT, printable, printable_json
from tqdm import tqdm

#: Largest number of characters of a table cell.
CELL_LIMIT = 1000
#: Columns of names are not made narrower than this.
NARROWEST_COLUMN = 8
#: Width of what stands behind a progress bar.
_NOTE_WIDTH = 24


class Progress(Closing):
    """
    A progress bar on stderr; what `write` and `log` print does not break it.

    :param total: number of steps, None if unknown.
    :param unit: name of a step, such as 'picture'.
    :param quiet: no bar; there is none either if stderr is not a terminal.
    :param scaled: write thousands as k and millions as M, for bytes.
    """

    def __init__(
            self, total: Optional[int], unit: str, quiet: bool = False,
            scaled: bool = False) -> None:
        self._bar = tqdm(
            total=total, unit=f' {unit}', leave=False, file=sys.stderr, dynamic_ncols=True,
            unit_scale=scaled, disable=True if quiet else None)

    def step(self, note: str = '') -> None:
        """
        Advance by one.

        :param note: shown after the bar, shortened in its middle.
        """
        if note:
            self._bar.set_postfix_str(
                shortened(printable(note), _NOTE_WIDTH, cell_width), refresh=False)
        self._bar.update()

    def advance(self, steps: int, total: Optional[int]) -> None:
        """
        Advance by several steps.

        :param total: of all steps, None if that is still unknown.
        """
        self._bar.total = total
        self._bar.update(steps)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


def write(line: str = '', hanging: Optional[int] = None, whole: bool = False) -> None:
    """
    Print a line on stdout, control characters escaped, and on a terminal wrapped at words.

    :param line: may quote files, models and messages.
    :param hanging: indent of the lines that it continues on; not given: two more than its own.
    :param whole: do not wrap it, since it is there to be copied.
    """
    shown = printable(line, LINE_LIMIT)
    tqdm.write(shown if whole else fit_terminal(shown, sys.stdout, hanging), file=sys.stdout)


def log(line: str) -> None:
    """Print a line on stderr, as `write` does."""
    tqdm.write(fit_terminal(printable(line, LINE_LIMIT), sys.stderr), file=sys.stderr)


def print_warning(line: str) -> None:
    """Print a warning on stderr, on one line."""
    log(f'warning: {printable(line, CELL_LIMIT)}')


def print_json(command: str, document: Mapping[str, Any]) -> None:
    """
    Print one JSON document, with the head of `json_document`.

    Non-ASCII characters are escaped unless stdout is UTF-8.

    :param command: whose document it is, such as 'classify'.
    :param document: its other keys, none of them `format` or `version`.
    """
    # The escapes that the stream itself writes for other encodings are not valid JSON.
    unicode = codecs.lookup(sys.stdout.encoding or 'utf-8').name == 'utf-8'
    print(printable_json(json.dumps(
        json_document(command, document), indent=2, ensure_ascii=not unicode)))


def table_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """
    Return cells as one line in columns.

    A cell that is wider than its column is shortened on a terminal, else it moves those after it.

    :param cells: texts; those after the last width may be of any width.
    :param widths: widths of the columns in terminal cells, negative to align to the right.
    """
    padded = []
    shown = [printable(cell, CELL_LIMIT) for cell in cells]
    for cell, width in zip(shown, widths):
        if terminal_width(sys.stdout) is not None:
            cell = shortened(cell, abs(width), cell_width, ellipsis(sys.stdout))
        space = ' ' * (abs(width) - cell_width(cell))
        padded.append(space + cell if width < 0 else cell + space)
    return '  '.join([*padded, *shown[len(widths):]]).rstrip()


def fit_columns(widths: Sequence[int], others: int) -> list[int]:
    """
    Return the widths of columns of names that are as wide as they can be on the terminal.

    The widest are made narrower until a line fits; without a terminal they stay as they are.

    :param widths: of the columns, as wide as their cells.
    :param others: width of the rest of a line, spaces between columns included.
    """
    found = list(widths)
    room = terminal_width(sys.stdout)
    while room is not None and sum(found) + others > room and max(found) > NARROWEST_COLUMN:
        found[found.index(max(found))] -= 1
    return found


def print_table(
        head: Sequence[str], rows: Iterable[Sequence[str]], sides: str, indent: str = '') -> None:
    """
    Print columns as wide as their cells, or as far as a terminal has room for them.

    :param head: cells of the first line.
    :param rows: cells of the others; those after the last of `sides` may be of any width.
    :param sides: for each column where its cells are aligned: l, r, or f for the left side and
        never shortened, as numbers are not.
    :param indent: stands before each line.
    """
    lines = [head, *rows]
    widths = [max(text_width(line[place]) for line in lines if place < len(line))
              for place in range(max(map(len, lines)))]
    names = [place for place in range(len(widths)) if sides[place:place + 1] in ('l', '')]
    others = len(indent) + sum(widths) - sum(widths[place] for place in names) \
        + len('  ') * (len(widths) - 1)
    for place, width in zip(names, fit_columns([widths[place] for place in names], others)):
        widths[place] = width
    for place, side in enumerate(sides):
        widths[place] *= -1 if side == 'r' else 1
    for line in lines:
        write(indent + table_row(line, widths))


def text_width(text: str) -> int:
    """Return the width of a text in terminal cells, as `table_row` prints it."""
    return cell_width(printable(text, CELL_LIMIT))


def count_of(number: int, thing: str) -> str:
    """Return a number with its noun: '1 picture', '2 pictures', '2 classes'."""
    ending = '' if number == 1 else 'es' if thing.endswith('s') else 's'
    return f'{number} {thing}{ending}'
