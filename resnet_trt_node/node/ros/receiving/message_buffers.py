"""Memory for serialised messages, used again once nobody looks at a message any more."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from ctypes import Array, c_ubyte
from typing import Any, Callable

import numpy as np

#: Returns a writable buffer of so many bytes, such as page-locked memory; raises MemoryError.
Allocate = Callable[[int], Any]
#: Sizes are multiples of this, so that messages of nearly one size share buffers.
_UNIT_BYTES = 1 << 16

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
    get memory of their own, which is freed with them. All are as large as the largest message was.

    :param most: buffers that are kept.
    :param allocate: makes the buffers that are kept.
    """

    def __init__(self, most: int, allocate: Allocate = allocate_pageable) -> None:
        self._most = most
        self._allocate = allocate
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
        if len(self._current) < self._size:
            self._current = self._next()
        return self._current

    def grow(self, size: int) -> Buffer:
        """
        Return another buffer to be filled next, and have all further ones be as large.

        :param size: bytes that it has at least.
        :raises MemoryError: if there is none.
        """
        if size > self._size:
            self._size = -(-size // _UNIT_BYTES) * _UNIT_BYTES
        return self.take()

    def lend(self, length: int) -> memoryview:
        """
        Return what the buffer holds; it is used again when the last view of it is gone.

        :param length: bytes of the message.
        :returns: uint8 (length,), read-only.
        """
        buffer, self._current = self._current, _NONE
        lent = type(buffer).from_buffer(buffer)
        if self._is_extra:
            self.extra += 1
        else:
            # Views, and arrays of NumPy, hold what they are a view of, and with it the lease.
            lent.lease = _Lease(self._free, buffer)  # type: ignore[attr-defined]
        return memoryview(lent).cast('B')[:length].toreadonly()

    def _next(self) -> Buffer:
        if self._current is not _NONE and not self._is_extra:
            # It has become too small.
            self.kept -= 1
        self._current, self._is_extra = _NONE, False
        while self._free:
            buffer = self._free.pop()
            if len(buffer) >= self._size:
                return buffer
            self.kept -= 1
        if self.kept < self._most:
            with suppress(MemoryError):
                buffer = _owned(self._allocate(self._size))
                self.kept += 1
                return buffer
        self._is_extra = True
        return _owned(allocate_pageable(self._size))


def _owned(memory: Any) -> Buffer:
    return (c_ubyte * memoryview(memory).nbytes).from_buffer(memory)
