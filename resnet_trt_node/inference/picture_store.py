"""Pictures by name, out of a folder, a zip file, or a folder within a zip file."""

from __future__ import annotations

from lzma import LZMAError
import os
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Iterator, Optional, Union
from zipfile import BadZipFile, ZipFile
import zlib

from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.inference.compressed import decode_compressed
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.inference.pictures import read_picture

#: What reading a member of a zip file raises where the file is damaged or encrypted.
ZIP_ERRORS = (
    BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error, LZMAError, EOFError,
    UnicodeDecodeError)


class PictureStore:
    """
    Files of a folder or a zip file, by names relative to it; a context manager.

    Threads may share one. What a zip file calls './cat/1.jpg' or '/cat/1.jpg' is 'cat/1.jpg'.

    :param root: a folder, a zip file, or a folder within a zip file: 'pictures.zip/test'.
    :raises DataError: if there is no such thing, or the file is no zip file.
    """

    def __init__(self, root: Union[str, Path]) -> None:
        #: As it was named, for messages.
        self.root = Path(root)
        self._prefix = ''
        self._zip: Optional[ZipFile] = None
        #: Plain names to those in the zip file.
        self._names: dict[str, str] = {}
        self._file = self._find_zip()
        if self._file is not None:
            self._names = {plain_name(name): name for name in self._open_zip().namelist()}
            if self._prefix and not any(name.startswith(self._prefix) for name in self._names):
                self.close()
                raise DataError(f'there is no folder {self._prefix[:-1]} in {self._file}')

    @property
    def is_zip(self) -> bool:
        """Return whether the files lie in a zip file."""
        return self._file is not None

    def file_names(self) -> list[str]:
        """Return every file's name, sorted, with '/' between its parts."""
        return [name for name in self._entries() if not name.endswith('/')]

    def folder_names(self) -> list[str]:
        """Return the names of all folders at any depth, empty ones too, sorted."""
        folders: set[str] = set()
        for name in self._entries():
            path = PurePosixPath(name)
            inner = [path] if name.endswith('/') else []
            folders.update(str(part) for part in [*inner, *path.parents] if str(part) != '.')
        return sorted(folders)

    def read(self, name: str) -> bytes:
        """
        Return a file's bytes.

        :raises FrameError: if it cannot be read.
        """
        try:
            if self._file is None:
                return (self.root / name).read_bytes()
            return self._open_zip().read(self._name_in_zip(name))
        except (KeyError, *ZIP_ERRORS) as error:
            raise FrameError(f'cannot read {name} in {self.root}: {error}') from error

    def size_bytes(self, name: str) -> int:
        """
        Return how many bytes a file has, without reading it.

        :raises FrameError: if there is no such file.
        """
        try:
            if self._file is None:
                return (self.root / name).stat().st_size
            return self._open_zip().getinfo(self._name_in_zip(name)).file_size
        except (KeyError, OSError) as error:
            raise FrameError(f'cannot find {name} in {self.root}: {error}') from error

    def frame(self, name: str, reduced_to: Optional[int] = None) -> Frame:
        """
        Decode a picture, upright.

        :param name: the file.
        :param reduced_to: see `decode_compressed`.
        :raises FrameError: if it cannot be read or is not a picture.
        """
        if self._file is None and reduced_to is None:
            return read_picture(self.root / name)
        data = self.read(name)
        try:
            return decode_compressed(data, reduced_to, apply_orientation=True)
        except FrameError as error:
            raise FrameError(f'{name} in {self.root}: {error}') from error

    def close(self) -> None:
        """Close the zip file; calling it again does nothing."""
        if self._zip is not None:
            self._zip.close()
            self._zip = None

    def __enter__(self) -> PictureStore:
        """Return the store itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Close the zip file."""
        self.close()

    def _find_zip(self) -> Optional[Path]:
        """Return the zip file that the root is or lies in, None for a folder."""
        if self.root.is_dir():
            return None
        for file in (self.root, *self.root.parents):
            if file.is_file():
                inner = self.root.relative_to(file).as_posix()
                self._prefix = '' if inner == '.' else f'{inner}/'
                return file
        raise DataError(f'there is no folder or zip file {self.root}')

    def _open_zip(self) -> ZipFile:
        if self._file is None:
            raise DataError(f'{self.root} is a folder, no zip file')
        if self._zip is None:
            try:
                self._zip = ZipFile(self._file)
            # ValueError: a name that is not in the encoding it claims, or an absurd offset.
            except (ValueError, *ZIP_ERRORS) as error:
                raise DataError(
                    f'{self._file} is not a zip file ({error}): name a folder or a zip file of '
                    'pictures') from error
        return self._zip

    def _name_in_zip(self, name: str) -> str:
        plain = self._prefix + plain_name(name)
        return self._names.get(plain, plain)

    def _entries(self) -> list[str]:
        """Return the names of all files and, with a '/' at the end, folders."""
        if self._file is None:
            return sorted(_walk(self.root))
        start = len(self._prefix)
        return sorted(
            name[start:] for name in self._names
            if name.startswith(self._prefix) and len(name) > start)


def plain_name(name: str) -> str:
    """Return a name in a zip file without './', a first '/' and doubled ones."""
    parts = [part for part in name.split('/') if part not in ('', '.')]
    return '/'.join(parts) + ('/' if parts and name.endswith('/') else '')


def _walk(root: Path) -> Iterator[str]:
    """Give what `PictureStore._entries` returns; links to folders are followed, once each."""
    seen: set[Path] = {root.resolve()}
    for folder, inner, files in os.walk(root, followlinks=True):
        place = PurePosixPath(Path(folder).relative_to(root).as_posix())
        inner[:] = [name for name in inner if (Path(folder) / name).resolve() not in seen]
        seen.update((Path(folder) / name).resolve() for name in inner)
        for name in files:
            yield str(place / name)
        for name in inner:
            yield f'{place / name}/'
