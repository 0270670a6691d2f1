"""Texts that have to fit a place: shortened in their middle, or wrapped at words."""

from __future__ import annotations

from functools import partial
import os
import re
from typing import Callable, List, Optional, TextIO
import unicodedata

#: Terminals narrower than this get lines of this width.
_NARROWEST = 40
_USUAL = 80
#: What is left of a word that is shortened.
_ROOM = 24


def shortened(
        text: str, width: int, measure: Callable[[str], int] = len, mark: str = '…') -> str:
    """
    Return a text of at most a width, its middle replaced by a mark where it is longer.

    Paths and class names differ at their ends: both stay.

    :param width: at least that of the mark.
    :param measure: returns the width of a text; not given: its number of characters.
    :param mark: what stands for the middle.
    """
    if measure(text) <= width:
        return text
    head, tail = '', ''
    for first, last in zip(text, reversed(text)):
        if measure(f'{head}{first}{mark}{tail}') > width:
            break
        head += first
        if measure(f'{head}{mark}{last}{tail}') > width:
            break
        tail = last + tail
    # Accents have no width and belong to the letter before them.
    while len(head) + len(tail) < len(text) and not measure(text[len(head)]):
        head += text[len(head)]
    while tail and not measure(tail[0]):
        tail = tail[1:]
    return f'{head}{mark}{tail}'


def cell_width(text: str) -> int:
    """Return how many cells of a terminal a text takes, which has no control characters."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(letter) in ('Mn', 'Me', 'Cf') else
        2 if unicodedata.east_asian_width(letter) in 'WF' else 1 for letter in text)


def fit_terminal(text: str, stream: TextIO, hanging: Optional[int] = None) -> str:
    """
    Return a line as several ones that fit the terminal; as it is where there is none.

    Lines break between words. A word that is longer than a line is shortened in its middle.

    :param text: one line, without control characters.
    :param stream: where it is written to.
    :param hanging: indent of all lines but the first; not given: two more than that of the first.
    """
    width = terminal_width(stream)
    if width is None or cell_width(text) <= width:
        return text
    if hanging is None:
        hanging = len(text) - len(text.lstrip(' ')) + 2
    indent = ' ' * min(hanging, width // 2)
    shorten = partial(shortened, measure=cell_width, mark=ellipsis(stream))
    lines: List[str] = []
    line = ''
    for part in re.findall(' *[^ ]+', text):
        word = part.lstrip(' ')
        room = width - cell_width(line + part[:-len(word)])
        # One that is too long for any line may as well begin on this one.
        endless = cell_width(word) > width - len(indent) and room >= _ROOM
        if line.strip(' ') and cell_width(word) > room and not endless:
            lines.append(line)
            line, part, room = indent, word, width - len(indent)
        line += part[:-len(word)] + shorten(word, max(len('...'), room))
    return '\n'.join([*lines, line])


def terminal_width(stream: TextIO) -> Optional[int]:
    """
    Return how many cells a line of a stream may take, None for any number.

    Only lines on a terminal are cut, at its width or $COLUMNS: who pipes them to grep or into a
    file wants whole ones.
    """
    if not stream.isatty():
        return None
    columns = os.environ.get('COLUMNS', '')
    if re.fullmatch('[0-9]{1,5}', columns):
        return max(_NARROWEST, int(columns))
    try:
        return max(_NARROWEST, os.get_terminal_size(stream.fileno()).columns)
    except OSError:
        # A terminal that is no device, such as an editor's.
        return _USUAL


def ellipsis(stream: TextIO) -> str:
    """Return what stands for the middle of a text, in characters that a stream can write."""
    try:
        '…'.encode(stream.encoding or 'ascii')
    except UnicodeEncodeError:
        return '...'
    return '…'
