"""
rcl's take of a serialised message into memory of ours, through ctypes.

rclpy offers the same (`raw=True`), but makes new memory for each message, copies it into bytes and
holds the GIL all the while. ctypes lets other threads run.

The functions are of rcl and rcutils, as rclpy itself has loaded them. Their signatures are the
same from ROS 2 Humble to Kilted; what matters of the structures is checked before they are used.
"""

from __future__ import annotations

from ctypes import (
    addressof, byref, c_char, c_int, c_int64, c_size_t, c_void_p, cast, CDLL, CFUNCTYPE, POINTER,
    sizeof, Structure)
from functools import cache, partial
from typing import Any, Optional

from rclpy.impl.implementation_singleton import rclpy_implementation
from resnet_trt_node.node.ros.receiving.message_buffers import MessageBuffers

_OK, _NOTHING_TO_TAKE = 0, 401
#: Of a rmw_message_info_t: the time of its source, the time of its reception, and what differs
#: between the distributions; far more than any of them has.
_INFO_BYTES = 512
_ERROR_BYTES = 1024

_Reallocate = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_void_p)
_Deallocate = CFUNCTYPE(None, c_void_p, c_void_p)


class _Allocator(Structure):
    """A rcutils_allocator_t."""

    _fields_ = [
        ('allocate', c_void_p), ('deallocate', c_void_p), ('reallocate', c_void_p),
        ('zero_allocate', c_void_p), ('state', c_void_p)]


class _Array(Structure):
    """A rcutils_uint8_array_t, which rcl calls a serialised message."""

    _fields_ = [
        ('buffer', c_void_p), ('length', c_size_t), ('capacity', c_size_t),
        ('allocator', _Allocator)]


class _Info(Structure):
    _fields_ = [('source_timestamp', c_int64), ('received_timestamp', c_int64),
                ('rest', c_char * (_INFO_BYTES - 16))]


class _ErrorText(Structure):
    _fields_ = [('text', c_char * _ERROR_BYTES)]


class ReceiveError(Exception):
    """rcl could not take a message, or cannot be called like this; the text says why."""


@cache
def _library() -> Any:
    """
    Return rcl, after a trial of the structures.

    :raises ReceiveError: where it is another than is known here.
    """
    try:
        # Its own symbols are searched, and those of the libraries that it needs.
        library = CDLL(rclpy_implementation.__file__)
        library.rcutils_get_default_allocator.restype = _Allocator
        library.rcutils_get_error_string.restype = _ErrorText
        library.rcutils_uint8_array_init.argtypes = [
            POINTER(_Array), c_size_t, POINTER(_Allocator)]
        library.rcutils_uint8_array_resize.argtypes = [POINTER(_Array), c_size_t]
        library.rcutils_uint8_array_fini.argtypes = [POINTER(_Array)]
        take = library.rcl_take_serialized_message
    except (AttributeError, OSError) as error:
        raise ReceiveError(f'no rcl is found: {error}') from error
    take.argtypes = [c_void_p, POINTER(_Array), POINTER(_Info), c_void_p]
    take.restype = c_int
    if not _fits(library):
        raise ReceiveError('the structures of this rcl are unknown')
    return library


def _fits(library: Any) -> bool:
    """Tell whether rcutils fills the structures as they are declared here."""
    allocator, array = library.rcutils_get_default_allocator(), _Array()
    return (
        library.rcutils_uint8_array_init(byref(array), 7, byref(allocator)) == _OK
        and bool(array.buffer) and (array.length, array.capacity) == (0, 7)
        and bytes(array.allocator) == bytes(allocator)
        and library.rcutils_uint8_array_resize(byref(array), 9) == _OK and array.capacity == 9
        and library.rcutils_uint8_array_fini(byref(array)) == _OK and not array.buffer)


def check_rcl() -> None:
    """
    Find out whether rcl can be called.

    :raises ReceiveError: if not.
    """
    _library()


class SerialisedTake:
    """
    Takes the messages of a subscription, for one thread.

    :param pointer: address of the rcl_subscription_t, which outlives all calls.
    :param buffers: where messages are put.
    :raises ReceiveError: where this rcl is not known.
    """

    def __init__(self, pointer: int, buffers: MessageBuffers) -> None:
        self._library = library = _library()
        self._pointer = pointer
        self._buffers = buffers
        default = library.rcutils_get_default_allocator()
        # Kept: ctypes does not. They do not hold this object, which would hold itself then.
        self._hooks = _Reallocate(partial(_reallocate, buffers)), _Deallocate(_deallocate)
        functions = [cast(hook, c_void_p).value for hook in self._hooks]
        self._message = _Array(None, 0, 0, _Allocator(
            default.allocate, functions[1], functions[0], default.zero_allocate, None))
        self._info = _Info()

    def __call__(self) -> Optional[tuple[memoryview, int]]:
        """
        Take the next message.

        :returns: the message as `MessageBuffers.lend` lends it, and when the middleware received
            it in nanoseconds of its clock, 0 where it does not tell; None if there is none.
        :raises ReceiveError: if rcl fails, and if memory is at its end.
        """
        message, info = self._message, self._info
        buffer = self._buffers.take()
        message.buffer, message.capacity, message.length = addressof(buffer), sizeof(buffer), 0
        info.received_timestamp = 0
        result = self._library.rcl_take_serialized_message(
            self._pointer, byref(message), byref(info), None)
        if result == _NOTHING_TO_TAKE:
            return None
        if result != _OK:
            raise ReceiveError(self._error() or f'rcl_take_serialized_message returns {result}')
        return self._buffers.lend(message.length), info.received_timestamp

    def _error(self) -> str:
        text: bytes = self._library.rcutils_get_error_string().text
        self._library.rcutils_reset_error()
        return text.decode('utf-8', 'replace')


def _reallocate(
        buffers: MessageBuffers, pointer: Optional[int], size: int, state: Any) -> Optional[int]:
    """Give rcl more memory for the message that it is taking; called within its call."""
    try:
        return addressof(buffers.grow(size))
    except MemoryError:
        return None


def _deallocate(pointer: Optional[int], state: Any) -> None:
    """Free nothing: the buffer is not rcl's."""
