"""Memory for serialised messages, used again once nobody looks at a message any more."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from ctypes import Array, c_ubyte
from heapq import nlargest
from typing import Any, Callable, Iterable

import numpy as np
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES

#: Returns a writable buffer of so many bytes, such as page-locked memory; raises MemoryError.
Allocate = Callable[[int], Any]
#: Sizes are multiples of this, so that messages of nearly one size share buffers.
_UNIT_BYTES = 1 << 16
#: Messages whose lengths decide how large buffers are: two seconds at 30 Hz.
_RECENT = 64
#: A buffer may be so many times as large as is wanted, and than all other messages but one need.
_TIMES = 2

Buffer = Array[c_ubyte]
_NONE: Buffer = (c_ubyte * 0)()


def allocate_pageable(size: int) -> Any:
    """Return memory of so many bytes."""
    return np.empty(size, np.uint8)


class _Lease:
    """
    Gives a buffer back when it is destroyed, on whatever thread, even by the garbage collector.

    :param free: where the buffer goes. To append takes no lock, for which a collection could wait
        on the thread that holds it.
    :param buffer: what is lent.
    """

    __slots__ = ('_buffer', '_free')

    def __init__(self, free: deque[Buffer], buffer: Buffer) -> None:
        self._free, self._buffer = free, buffer

    def __del__(self) -> None:
        self._free.append(self._buffer)


class MessageBuffers:
    """
    Buffers of one topic, for one thread that fills them; messages may be let go on any thread.

    There are as many as messages were held at a time, but no more than `most`: further messages
    get memory of their own, which is freed with them. All are as large as the largest of the last
    messages. One that is much larger than all others gets memory of its own, too.

    :param most: buffers that are kept.
    :param allocate: makes the buffers that are kept.
    :param most_bytes: of an image; a message of more is none of the buffers'.
    """

    def __init__(
            self, most: int, allocate: Allocate = allocate_pageable,
            most_bytes: int = MAX_IMAGE_BYTES) -> None:
        self._most = most
        self._allocate = allocate
        # With its header.
        self._most_bytes = most_bytes + _UNIT_BYTES
        self._lengths: deque[int] = deque(maxlen=_RECENT)
        self._size = _UNIT_BYTES
        # The last one that came back is taken first: it is still in the processor's cache.
        self._free: deque[Buffer] = deque()
        #: Buffers that exist; those of messages that nobody keeps, and those that are lent.
        self.kept = 0
        #: Messages that got memory of their own, as all buffers were in use or there was no
        #: memory for one more.
        self.extra = 0
        self._current: Buffer = _NONE
        self._is_extra = False

    def take(self) -> Buffer:
        """
        Return the buffer that is filled next; the same until it is lent.

        :raises MemoryError: if there is none.
        """
        if self._current is _NONE:
            self._current = self._next(self._size)
        return self._current

    def grow(self, size: int) -> Buffer:
        """
        Return another buffer to be filled next, since the present one is too small.

        :param size: bytes that it has at least.
        :raises MemoryError: if there is none.
        """
        if len(self._current) < size:
            if self._current is not _NONE and not self._is_extra:
                self._free.append(self._current)
            self._current = _NONE
            if size <= self._most_bytes:
                self._size = _size_for([*self._lengths, size])
            self._current = self._next(size)
        return self._current

    def lend(self, length: int) -> memoryview:
        """
        Return what the buffer holds; it is used again when the last view of it is gone.

        :param length: bytes of the message.
        :returns: uint8 (length,), read-only.
        """
        buffer, self._current = self._current, _NONE
        if length <= self._most_bytes:
            self._lengths.append(length)
            self._size = _size_for(self._lengths)
        lent = type(buffer).from_buffer(buffer)
        if self._is_extra:
            self.extra += 1
        else:
            # Views, and arrays of NumPy, hold what they are a view of, and with it the lease.
            lent.lease = _Lease(self._free, buffer)  # type: ignore[attr-defined]
        return memoryview(lent).cast('B')[:length].toreadonly()

    def _next(self, size: int) -> Buffer:
        self._is_extra = size > self._size
        if self._is_extra:
            return _owned(allocate_pageable(size))
        # Others may come back meanwhile, at the other end.
        idle = [self._free.popleft() for _ in range(len(self._free))]
        suited = [one for one in idle if self._size <= len(one) <= _TIMES * self._size]
        self.kept -= len(idle) - len(suited)
        if suited:
            buffer = suited.pop()
            self._free.extendleft(reversed(suited))
            return buffer
        if self.kept < self._most:
            with suppress(MemoryError):
                buffer = _owned(self._allocate(self._size))
                self.kept += 1
                return buffer
        self._is_extra = True
        return _owned(allocate_pageable(self._size))


def _size_for(lengths: Iterable[int]) -> int:
    """Return how large buffers are for messages of these lengths."""
    largest, *others = nlargest(2, lengths)
    wanted = min([largest, *(_TIMES * other for other in others)])
    return max(1, -(-wanted // _UNIT_BYTES)) * _UNIT_BYTES


def _owned(memory: Any) -> Buffer:
    return (c_ubyte * memoryview(memory).nbytes).from_buffer(memory)
