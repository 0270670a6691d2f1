"""
Reading ordinary files alone.

Opening a named pipe waits for somebody to write into it, /dev/zero never ends, and opening a
device may do something. So what a user names as a model, list or picture is looked at first, and
read up to a limit. What is wrong is an OSError whose `strerror` is in plain words: callers raise
their own error from it, `f'cannot read {path}: {error.strerror or error}'`.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
import stat
from typing import BinaryIO, Union

_PIECE_BYTES = 1 << 20
#: Kind of a file, by its mode's type, to what it is called.
_KINDS = {
    stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a named pipe', stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device', stat.S_IFBLK: 'a device',
}


def open_regular(path: Union[str, Path]) -> BinaryIO:
    """
    Open an ordinary file for reading, at once or not at all.

    :param path: the file; links are followed.
    :returns: the open file, binary; the caller closes it.
    :raises OSError: if there is none or it is something else, such as a folder, pipe or device.
    """
    # Before it is opened, since that alone can wind a tape or start a watchdog ...
    _check_kind(os.stat(path), path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        # ... and after, since it can be replaced in between.
        _check_kind(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, 'rb')


def read_regular(path: Union[str, Path], max_bytes: int) -> bytes:
    """
    Read an ordinary file whole.

    :param path: the file; links are followed.
    :param max_bytes: refuse a file with more.
    :raises OSError: as `open_regular`, and if the file is too large or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= max_bytes:
            try:
                data = _read(file, size, max_bytes)
            except MemoryError as error:
                raise OSError(
                    errno.ENOMEM, f'no memory for its {size} bytes', str(path)) from error
            if len(data) <= max_bytes:
                return data
    raise OSError(errno.EFBIG, f'it has more than {max_bytes} bytes', str(path))


def _read(file: BinaryIO, size: int, max_bytes: int) -> bytes:
    # One byte more than it should have: the file may grow, and those of /proc tell no size.
    data = file.read(size + 1)
    if data is not None and len(data) <= size:
        return data
    pieces = [data]
    while data and sum(map(len, pieces)) <= max_bytes:
        data = file.read(_PIECE_BYTES)
        pieces.append(data)
    if data is None:
        # A file of the kernel's that waits for something to tell.
        raise OSError(errno.EAGAIN, 'it has no content at present')
    return b''.join(pieces)


def _check_kind(status: os.stat_result, path: Union[str, Path]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), 'something else')
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, f'it is {kind}, not an ordinary file', str(path))
