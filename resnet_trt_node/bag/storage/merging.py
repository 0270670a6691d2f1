"""Merges the messages of several files or chunks by time, opening each as late as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import heapq
from typing import NamedTuple

from rosbags.interfaces import Connection


class Stored(NamedTuple):
    """
    A message as it is stored in a file.

    :param time_ns: its log time.
    :param connection: its topic, a connection of the file.
    :param data: its serialisation.
    """

    time_ns: int
    connection: Connection
    data: bytes


class Span(NamedTuple):
    """
    Log times that are read, in nanoseconds.

    :param start_ns: the first.
    :param end_ns: the one behind the last.
    """

    start_ns: int
    end_ns: int


#: All log times that a file can have.
EVERYTHING = Span(-2**63, 2**63)


class Part(NamedTuple):
    """
    A part of a recording.

    :param start_ns: a lower bound of its log times.
    :param read: returns its messages by log time.
    """

    start_ns: int
    read: Callable[[], Iterable[Stored]]


def merge(parts: Iterable[Part]) -> Iterator[Stored]:
    """
    Yield the messages of all parts by log time; of equal times in the order of the parts.

    A part is opened when its first message may be the next one, so that only overlapping parts
    are open at the same time.

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
