"""Files that hold code: who may have written them, writing them whole, one writer at a time."""

from __future__ import annotations

from contextlib import contextmanager
import fcntl
import hashlib
import os
from pathlib import Path
import stat
import time
from typing import Callable, Iterator, Optional

from resnet_trt_node.atomic_file import replacing
from resnet_trt_node.errors import BackendError
from resnet_trt_node.regular_file import open_regular

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedFile(Exception):
    """A file that is not what was stored; the text says why and what is to be done."""


def sha256_of(data: bytes) -> str:
    """Return the hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def prepare_folder(folder: Path) -> None:
    """
    Make a folder for engines if there is none, and check that nobody else can write there.

    :raises OSError: if it cannot be made.
    :raises UntrustedFile: if another user could have put a file into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(os.stat(folder), folder, None)


def read_trusted(path: Path, owner_uid: Optional[int], max_bytes: int) -> bytes:
    """
    Read a file that nobody else can have written.

    What is checked is the opened file itself, so that it cannot be swapped in between.

    :param path: an ordinary file, no symbolic link.
    :param owner_uid: whose it must be; None for this user's or root's.
    :param max_bytes: the most that it may hold.
    :raises UntrustedFile: if others may write it, it has another owner, or it is too large.
    :raises OSError: as `open_regular`.
    """
    if path.is_symlink():
        raise UntrustedFile(f'{path} is a symbolic link')
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
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


@contextmanager
def folder_lock(
        folder: Path, log: Callable[[str], None], timeout_s: float) -> Iterator[None]:
    """
    Be the one process that may write into a folder; the kernel ends that when the process dies.

    :param folder: where `.lock` lies; it stays, removing it would let two processes hold it.
    :param log: takes a line with the process that this one waits for.
    :param timeout_s: how long to wait.
    :raises OSError: if the folder cannot be written.
    :raises BackendError: if another process keeps the lock for too long.
    """
    path = folder / '.lock'
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, 'rb'):
        _wait_for_lock(descriptor, path, log, timeout_s)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield


def _wait_for_lock(
        descriptor: int, path: Path, log: Callable[[str], None], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    logged = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors='replace') or '?'
        if not logged:
            log(f'waiting for process {holder}, which is building engines in {path.parent}')
            logged = True
        if time.monotonic() > deadline:
            raise BackendError(
                f'process {holder} has held {path} for {timeout_s:.0f} s: '
                'end it, or choose another engine folder')
        time.sleep(0.05)
