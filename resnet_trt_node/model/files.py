"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

from contextlib import contextmanager
import os
from pathlib import Path
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
    _temporary(path)
    for source in sources:
        if source is not None and path.exists() and Path(source).exists() and (
                path.samefile(source)):
            raise UsageError(f'{path} is what the result is made from: name another file')
    folder = next(place for place in path.absolute().parents if place.exists())
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def _check_kind(path: Path) -> None:
    try:
        folder, there, file = path.is_dir(), path.exists(), path.is_file()
    except OSError as error:
        raise _cannot_write(path, error) from error
    if folder:
        raise UsageError(f'{path} is a folder: name a file in it')
    # Renaming over a device, such as /dev/null, would replace it.
    if there and not file:
        raise UsageError(f'{path} is no ordinary file: name another')


def _temporary(path: Path) -> Path:
    """Return the name to write to, which is longer: it must not be too long."""
    # Its own name for each process: two that write the same file do not mix their bytes.
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.exists()
    except OSError as error:
        raise _cannot_write(path, error) from error
    return temporary


def _cannot_write(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f'cannot write {path}: {error.strerror or error}; choose another place')


@contextmanager
def whole_file(path: Union[str, Path]) -> Iterator[Path]:
    """
    Give a temporary name beside `path`; rename it when the block ends, remove it if it fails.

    :param path: the file to write; missing folders above it are made, an older file stays until
        the new one is complete.
    :returns: the name to write to.
    :raises UsageError: if the place cannot be written to.
    """
    path = Path(path)
    _check_kind(path)
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary.exists():
            temporary.unlink()
