"""Files that hold code: who may have written them, writing them whole, one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path
import stat
import time
from typing import Callable, Optional, TYPE_CHECKING

from resnet_trt_node.atomic_file import replacing
from resnet_trt_node.errors import BackendError

if TYPE_CHECKING:
    from types import TracebackType

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedFile(Exception):
    """A file that is not what was stored; the text says why and what is to be done."""


def sha256_of(data: bytes) -> str:
    """Return the hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def prepare_folder(folder: Path) -> None:
    """
    Make a folder for engines if there is none, and check that nobody else can write there.

    :raises BackendError: if it cannot be made or is not to be trusted.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_folder(folder)
    except OSError as error:
        raise BackendError(
            f'cannot make the engine folder {folder} ({error.strerror or error}): '
            'choose another one') from error
    except UntrustedFile as error:
        raise BackendError(str(error)) from error


def check_folder(folder: Path) -> None:
    """Raise UntrustedFile if another user could have put a file into a folder."""
    _check(os.stat(folder), folder, None)


def read_trusted(path: Path, owner_uid: Optional[int], max_bytes: int) -> bytes:
    """
    Read a file that nobody else can have written.

    What is checked is the opened file itself, so that it cannot be swapped in between.

    :param path: a regular file, no symbolic link.
    :param owner_uid: whose it must be; None for this user's or root's.
    :param max_bytes: the most that it may hold.
    :raises UntrustedFile: if others may write it, it has another owner, or it is too large.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        descriptor = os.open(
            path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UntrustedFile(f'{path} is a symbolic link') from error
        raise
    with open(descriptor, 'rb') as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedFile(f'{path} is not a regular file')
        _check(status, path, owner_uid)
        if status.st_size > max_bytes:
            raise UntrustedFile(
                f'{path} has {status.st_size} bytes, {max_bytes} are the most it may have')
        return file.read()


def _check(status: os.stat_result, path: Path, owner_uid: Optional[int]) -> None:
    # Root can write everywhere anyway, and installs engines for all users.
    if status.st_uid not in (os.geteuid(), 0):
        raise UntrustedFile(
            f'{path} belongs to user {status.st_uid}, not to user {os.geteuid()} or root: '
            'engines are code, choose a folder of your own')
    if owner_uid is not None and status.st_uid != owner_uid:
        raise UntrustedFile(
            f'{path} belongs to user {status.st_uid}, user {owner_uid} wrote it')
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise UntrustedFile(
            f'{path} can be written by other users: engines are code, run chmod go-w {path}')


def write_atomically(path: Path, data: bytes) -> None:
    """
    Write a file so that it is there whole or not at all, readable by its owner alone.

    :raises OSError: if that is impossible; nothing is left behind then.
    """
    with replacing(path, 0o600) as temporary:
        temporary.write_bytes(data)


class FolderLock:
    """
    Held by the one process that may write into a folder; the kernel frees it when that one dies.

    :param folder: where `.lock` lies.
    :param log: takes a line with the process that this one waits for.
    :param timeout_s: how long to wait.
    """

    def __init__(self, folder: Path, log: Callable[[str], None], timeout_s: float) -> None:
        self._path = folder / '.lock'
        self._log = log
        self._timeout_s = timeout_s
        self._descriptor = -1

    def acquire(self) -> None:
        """
        Wait for the lock; use the object as a context manager afterwards, which frees it.

        :raises OSError: if the folder cannot be written.
        :raises BackendError: if another process keeps it for too long.
        """
        self._descriptor = os.open(
            self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._wait()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> FolderLock:
        """Return the acquired lock."""
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        logged = False
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = os.pread(self._descriptor, 32, 0).decode(errors='replace') or '?'
            if not logged:
                self._log(f'waiting for process {holder}, which is building engines in '
                          f'{self._path.parent}')
                logged = True
            if time.monotonic() > deadline:
                raise BackendError(
                    f'process {holder} has held {self._path} for {self._timeout_s:.0f} s: '
                    'end it, or choose another engine folder')
            time.sleep(0.05)

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Free the lock; the file stays, removing it would let two processes hold it."""
        os.close(self._descriptor)
