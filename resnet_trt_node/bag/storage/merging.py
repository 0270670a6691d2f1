"""Bringing recorded things of several places into the order of time, opening none too early."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import heapq
from typing import NamedTuple

from rosbags.interfaces import Connection


class Stored(NamedTuple):
    """
    A message as a file holds it.

    :param time_ns: when it was logged.
    :param connection: its topic, one of the file's.
    :param data: its serialisation.
    """

    time_ns: int
    connection: Connection
    data: bytes


class Part(NamedTuple):
    """
    A part of a recording, in order by itself.

    :param start_ns: no message in it is older.
    :param read: returns its messages.
    """

    start_ns: int
    read: Callable[[], Iterable[Stored]]


def merge(parts: Iterable[Part]) -> Iterator[Stored]:
    """
    Yield the messages of all parts in the order of time, of equal times in that of the parts.

    A part is opened when its first message may be next, so that memory and files are held for
    those alone that overlap.

    :param parts: in any order.
    """
    closed = sorted(enumerate(parts), key=lambda one: one[1].start_ns, reverse=True)
    open_parts: list[tuple[int, int, Stored, Iterator[Stored]]] = []

    def push(number: int, messages: Iterator[Stored]) -> None:
        first = next(messages, None)
        if first is not None:
            heapq.heappush(open_parts, (first.time_ns, number, first, messages))

    while closed or open_parts:
        if closed and (not open_parts or closed[-1][1].start_ns <= open_parts[0][0]):
            number, part = closed.pop()
            push(number, iter(part.read()))
            continue
        _, number, message, messages = heapq.heappop(open_parts)
        yield message
        push(number, messages)
