"""Pieces of HTML; all text of others is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape
from importlib import resources
from math import isnan

from resnet_trt_node.text.printable import printable

#: More of a name is not shown.
_LONGEST = 160


def text(value: object, limit: int = _LONGEST) -> str:
    """Return a text of others, on one line, cut to a length, for HTML and its attributes."""
    return escape(printable(value, limit))


def page(title: str, parts: Iterable[str]) -> str:
    """
    Return a page that needs nothing else, and that browsers let load nothing.

    :param title: its title, not escaped.
    :param parts: HTML.
    """
    style = resources.files('resnet_trt_node') / 'data' / 'fleet_report.css'
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return '\n'.join([
        '<!DOCTYPE html>', '<html lang="en">', '<head>', '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{text(title)}</title>', '<style>', style.read_text(encoding='utf-8'), '</style>',
        '</head>', '<body>', *parts, '</body>', '</html>', ''])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> str:
    """
    Return a table.

    :param head: cells of the first row, not escaped.
    :param rows: cells of the others, not escaped.
    :param sides: for each column l or r, where its cells are aligned.
    """
    def line(cells: Sequence[str], tag: str) -> str:
        return '<tr>' + ''.join(
            f'<{tag}{" class=r" if side == "r" else ""}>{text(cell)}</{tag}>'
            for cell, side in zip(cells, sides)) + '</tr>'
    body = '\n'.join(line(row, 'td') for row in rows)
    return (f'<div class="wide"><table>\n<thead>{line(head, "th")}</thead>\n'
            f'<tbody>\n{body}\n</tbody>\n</table></div>')


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """Return figures with what they are of, side by side."""
    return '<div class="cards">' + ''.join(
        f'<div class="card"><b>{text(figure)}</b><span>{text(what)}</span></div>'
        for figure, what in figures) + '</div>'


def legend(entries: Iterable[tuple[str, str]]) -> str:
    """Return what colours mean: pairs of name and colour."""
    return '<div class="legend">' + ''.join(
        f'<span><i style="background:{colour}"></i>{text(name, 40)}</span>'
        for name, colour in entries) + '</div>'


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent, 'none' for NaN."""
    return 'none' if isnan(share) else f'{100 * share:.{digits}f} %'


def moment(time_ns: int) -> str:
    """Return a time in nanoseconds since the epoch as date and time in UTC, to the second."""
    return f'{datetime.fromtimestamp(time_ns // 10**9, timezone.utc):%Y-%m-%d %H:%M:%S}'


def duration(seconds: float) -> str:
    """Return a length of time in the two units that suit it."""
    if seconds < 60:
        return f'{seconds:.0f} s' if seconds >= 10 else f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest} s' if rest else f'{minutes} min'
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if minutes else f'{hours} h'
