"""Console output of the commands: progress bars, tables, JSON."""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any, Iterable, Mapping, Optional, Sequence

from resnet_trt_node.closing import Closing
from resnet_trt_node.json_document import json_document
from resnet_trt_node.printable import printable, printable_json, printable_lines
from rich.cells import cell_len
from tqdm import tqdm

#: Largest number of characters of a table cell.
CELL_LIMIT = 1000


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

        :param note: shown after the bar.
        """
        if note:
            self._bar.set_postfix_str(printable(note), refresh=False)
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


def write(line: str = '') -> None:
    """
    Print text on stdout with control characters escaped, other than line breaks.

    :param line: one line or several, which may quote files, models and messages.
    """
    tqdm.write(printable_lines(line), file=sys.stdout)


def log(line: str) -> None:
    """Print text on stderr, as `write` does."""
    tqdm.write(printable_lines(line), file=sys.stderr)


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

    :param cells: texts; those after the last width may be of any width.
    :param widths: widths of the columns in terminal cells, negative to align to the right.
    """
    padded = []
    shown = [printable(cell, CELL_LIMIT) for cell in cells]
    for cell, width in zip(shown, widths):
        space = ' ' * (abs(width) - text_width(cell))
        padded.append(space + cell if width < 0 else cell + space)
    return '  '.join([*padded, *shown[len(widths):]]).rstrip()


def print_table(
        head: Sequence[str], rows: Iterable[Sequence[str]], sides: str, indent: str = '') -> None:
    """
    Print columns as wide as their cells.

    :param head: cells of the first line.
    :param rows: cells of the others; those after the last of `sides` may be of any width.
    :param sides: l or r for each column, where its cells are aligned.
    :param indent: stands before each line.
    """
    lines = [head, *rows]
    widths = [
        max(text_width(line[place]) for line in lines) * (-1 if side == 'r' else 1)
        for place, side in enumerate(sides)]
    for line in lines:
        write(indent + table_row(line, widths))


def text_width(text: str) -> int:
    """Return the width of a text in terminal cells, as `table_row` prints it."""
    return cell_len(printable(text, CELL_LIMIT))


def count_of(number: int, thing: str) -> str:
    """Return a number with its noun: '1 picture', '2 pictures', '2 classes'."""
    ending = '' if number == 1 else 'es' if thing.endswith('s') else 's'
    return f'{number} {thing}{ending}'
