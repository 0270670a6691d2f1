"""Texts that have to fit a place: their middle is left out."""

from __future__ import annotations

from typing import Callable


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
    return f'{head}{mark}{tail}'
