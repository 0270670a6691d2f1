"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

from contextlib import contextmanager, suppress
import os
from pathlib import Path
import secrets
import stat
from tempfile import TemporaryFile
from typing import Iterator, Union

from resnet_trt_node.errors import UsageError


def check_place(path: Union[str, Path], *sources: Union[str, Path, None]) -> None:
    """
    Refuse a place for a file, before the work that is to be kept there.

    :param path: the file to write.
    :param sources: what it is made from, None for nothing.
    :raises UsageError: if it cannot be written to, or is one of the sources.
    """
    path = Path(path)
    _check_kind(path)
    for source in sources:
        if source is not None and path.exists() and Path(source).exists() and (
                path.samefile(source)):
            raise UsageError(f'{path} is what the result is made from: name another file')
    folder = next(place for place in path.absolute().parents if place.exists())
    with _failure_explained(path), TemporaryFile(dir=folder):
        pass


def _check_kind(path: Path) -> None:
    with _failure_explained(path):
        try:
            # Not Path.exists, which newer Pythons let pass over a name that is too long.
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
    if stat.S_ISDIR(mode):
        raise UsageError(f'{path} is a folder: name a file in it')
    # Renaming over a device, such as /dev/null, would replace it.
    if not stat.S_ISREG(mode):
        raise UsageError(f'{path} is no ordinary file: name another')


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """
    Give a temporary file beside `path`; rename it when the block ends, remove it if it fails.

    Its name cannot be foreseen: in a folder that others may write to, a known one could be a link
    of theirs to a file of this user's.

    :param mode: of the file, less what the umask takes away.
    :returns: the empty file to write to.
    :raises OSError: if that is impossible; nothing is left behind then.
    """
    temporary = path.with_name(f'.{secrets.token_hex(12)}.tmp')
    os.close(os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode))
    try:
        yield temporary
        with open(temporary, 'rb') as file:
            # A power cut after the rename must not leave an empty file under the final name.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def _failure_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f'cannot write {path}: {error.strerror or error}; choose another place') from error


@contextmanager
def whole_file(path: Union[str, Path]) -> Iterator[Path]:
    """
    Do what `replacing` does for a file that a user names.

    :param path: the file to write; missing folders above it are made, an older file stays until
        the new one is complete.
    :returns: the empty file to write to.
    :raises UsageError: if the place cannot be written to.
    """
    path = Path(path)
    _check_kind(path)
    with _failure_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
