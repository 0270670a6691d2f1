"""Text of others on its way to a terminal, a log or a message: escaped, and cut to a length."""

from __future__ import annotations

import re

#: How much of a text is shown where a caller has no reason for another length.
DEFAULT_LIMIT = 200
#: How much of each line of a text of several lines, and how many lines.
LINE_LIMIT, MOST_LINES = 2000, 100
# Printed as they are, though str.isprintable refuses them: the spaces of other scripts, and the
# joiners without which Persian, Indian languages and emoji fall apart.
_HARMLESS = frozenset(
    '\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\N{ZERO WIDTH NON-JOINER}'
    '\N{ZERO WIDTH JOINER}\N{SOFT HYPHEN}')
# What a terminal or a reader could take for a command: escape sequences in their 7-bit and 8-bit
# form, the marks that turn the direction of the text round, lone surrogates.
_IN_JSON = re.compile('[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')


def printable(text: object, limit: int = DEFAULT_LIMIT) -> str:
    r"""
    Return a text on one line that can be encoded and commands no terminal.

    What another program, file or publisher chose may hold line breaks, escape sequences, lone
    surrogates and any number of characters. Backslashes are left alone, so that paths stay as
    they are.

    :param text: any text, or an object whose `str` is shown.
    :param limit: how many characters are shown, an escape such as \x1b counting as one; what is
        cut off is replaced by the length of the whole.
    """
    whole = str(text)
    if len(whole) <= limit and whole.isprintable():
        return whole
    shown = ''.join(
        letter if letter.isprintable() or letter in _HARMLESS else _escape(letter)
        for letter in whole[:limit])
    return shown if len(whole) <= limit else f'{shown}... ({len(whole)} characters)'


def one_line(text: object) -> str:
    """Return a text with its line breaks and indentation as single spaces."""
    return ' '.join(str(text).split())


def some(names: list[str] | tuple[str, ...], shown: int = 5) -> str:
    """Return the first of several names, with commas, and how many more there are."""
    more = len(names) - shown
    return ', '.join(names[:shown]) + (f' and {more} more' if more > 0 else '')


def printable_lines(text: object) -> str:
    """
    Return a text whose line breaks are meant, such as a table or a traceback.

    :param text: as in `printable`, which is what each line becomes.
    """
    lines = str(text).split('\n')
    shown = [printable(line, LINE_LIMIT) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(f'... ({len(lines)} lines)')
    return '\n'.join(shown)


def printable_json(document: str) -> str:
    r"""
    Return a JSON document with all that commands a terminal as \u escapes, which mean the same.

    JSON itself asks that for the control characters of ASCII only.

    :param document: written by `json.dumps`, line breaks between its tokens included.
    """
    return _IN_JSON.sub(lambda found: f'\\u{ord(found[0]):04x}', document)


def _escape(letter: str) -> str:
    return letter.encode('unicode_escape', 'backslashreplace').decode('ascii')
