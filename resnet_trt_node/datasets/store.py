"""Pictures by name, out of a folder, a zip file, or a folder within a zip file."""

from __future__ import annotations

from collections import Counter
from functools import cached_property, partial
from pathlib import Path
import stat
from typing import Iterator, Optional, Sequence, Union
from zipfile import ZipFile, ZipInfo

from resnet_trt_node.closing import Closing
from resnet_trt_node.datasets.listing import (
    is_hidden, list_folder, list_names, Listing, NO_FILES, READ_ERRORS, SHADOWED, ZIPPED_LINK)
from resnet_trt_node.datasets.picture_file import PictureFile
from resnet_trt_node.datasets.pictures import decode_picture
from resnet_trt_node.datasets.zip_names import encoding_of, member_name, plain_name
from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.imaging.frame import Frame, too_large
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.regular_file import read_regular
from resnet_trt_node.text.printable import printable

#: Characters of a picture's path that messages show.
_SHOWN_NAME = 1000


class PictureStore(Closing):
    r"""
    Files of a folder or a zip file, by names relative to it; a context manager.

    Threads may share one. What a zip file calls './cat/1.jpg', '/cat/1.jpg' or, written by old
    Windows programs, 'cat\1.jpg', is 'cat/1.jpg'; see `zip_names` for other letters.

    :param root: a folder, a zip file, or a folder within a zip file: 'pictures.zip/test'.
    :param max_bytes: memory that a picture may take, decoding included; and a file.
    :raises DataError: if there is no such thing, or the file is no zip file.
    """

    def __init__(
            self, root: Union[str, Path], max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        #: As it was named, for messages.
        self.root = Path(root)
        self._max_bytes = max_bytes
        #: Names of the pictures of which only the first frame was decoded.
        self.several: set[str] = set()
        self._prefix = ''
        self._zip = self._open_zip()
        members = self._zip.infolist() if self._zip is not None else []
        #: Plain names to the members of the zip file.
        self._members = {member_name(member): member for member in members}
        #: What was assumed of the names, each in words.
        self.assumptions = self._describe_names(members)
        #: How many of these came twice.
        self._shadowed = len(members) - len(self._members)
        if self._prefix and not any(name.startswith(self._prefix) for name in self._members):
            self.close()
            raise DataError(f'there is no folder {self._prefix[:-1]} in the zip file of {root}')

    @property
    def is_zip(self) -> bool:
        """Return whether the files lie in a zip file."""
        return self._zip is not None

    @cached_property
    def listing(self) -> Listing:
        """
        Return what there is, as it was when this was first asked for.

        :raises DataError: if a folder cannot be read.
        """
        archive = self._zip
        if archive is None:
            return list_folder(self.root)
        listing = list_names(
            self._walk_zip(), lambda name: archive.open(self._member(name)))
        # No name of a file starts like these.
        listing.unread.update((f'/{number}', SHADOWED) for number in range(self._shadowed))
        return listing

    def file_names(self) -> list[str]:
        """Return every file's name, hidden ones too, sorted."""
        listing = self.listing
        return sorted([
            *listing.pictures,
            *(name for name, kind in listing.unread.items()
              if kind not in NO_FILES and not name.endswith('/'))])

    def read(self, name: str) -> bytes:
        """
        Return a file's bytes.

        :raises FrameError: if it cannot be read, or is larger than a picture may be.
        """
        try:
            if self._zip is None:
                return read_regular(self.root / name, self._max_bytes)
            member = self._member(name)
            if member.file_size > self._max_bytes:
                raise FrameError(
                    f'{printable(name)} in {self.root}: it has '
                    f'{too_large(member.file_size, self._max_bytes)}')
            # No more than the size that was looked at is inflated.
            return self._zip.read(member)
        except (KeyError, *READ_ERRORS) as error:
            reason = getattr(error, 'strerror', None) or error
            raise FrameError(f'cannot read {printable(name)} in {self.root}: {reason}') from error

    def size_bytes(self, name: str) -> int:
        """
        Return how many bytes a file has, without reading it.

        :raises FrameError: if there is no such file.
        """
        try:
            if self._zip is None:
                return (self.root / name).stat().st_size
            return self._member(name).file_size
        except (KeyError, OSError) as error:
            raise FrameError(f'cannot find {printable(name)} in {self.root}: {error}') from error

    def frame(self, name: str, reduced_to: Optional[int] = None) -> Frame:
        """
        Decode a picture, upright.

        :param name: the file.
        :param reduced_to: see `decode_compressed`.
        :raises FrameError: if it cannot be read or is not a picture.
        """
        return self._decode(name, self.read(name), reduced_to)

    def file(self, name: str, keep: bool = False) -> PictureFile:
        """
        Return a picture that is read when it is asked for.

        :param name: the file.
        :param keep: see `PictureFile`.
        """
        return PictureFile(
            partial(self.read, name), partial(self._decode, name), self._max_bytes, keep)

    def close(self) -> None:
        """Close the zip file; calling it again does nothing."""
        if self._zip is not None:
            self._zip.close()

    def _decode(self, name: str, data: bytes, reduced_to: Optional[int] = None) -> Frame:
        where = printable(self.root / name, _SHOWN_NAME)
        frame = decode_picture(data, where, reduced_to, self._max_bytes)
        if frame.of_several:
            self.several.add(name)
        return frame

    def _open_zip(self) -> Optional[ZipFile]:
        """Open the zip file that the root is or lies in; None for a folder."""
        if self.root.is_dir():
            return None
        for file in (self.root, *self.root.parents):
            if not file.is_file():
                continue
            if file != self.root:
                self._prefix = f'{self.root.relative_to(file).as_posix()}/'
            try:
                return ZipFile(file)
            # ValueError: a name that is not in the encoding it claims, or an absurd offset.
            except (ValueError, *READ_ERRORS) as error:
                raise DataError(
                    f'{file} is not a zip file ({error}): name a folder or a zip file of '
                    'pictures') from error
        raise DataError(f'there is no folder or zip file {self.root}')

    def _describe_names(self, members: Sequence[ZipInfo]) -> tuple[str, ...]:
        kinds = Counter(filter(None, map(encoding_of, members)))
        return tuple(
            f'{self.root}: {count} {"name" if count == 1 else "names"} of files that the zip file '
            f'does not mark as UTF-8 {"was" if count == 1 else "were"} read as {kind}'
            for kind, count in sorted(kinds.items()))

    def _member(self, name: str) -> ZipInfo:
        """Return a member of the zip file; raises KeyError."""
        plain = self._prefix + plain_name(name)
        if plain not in self._members:
            raise KeyError(f'there is no {plain!r} in it')
        return self._members[plain]

    def _walk_zip(self) -> Iterator[tuple[str, str]]:
        start = len(self._prefix)
        for name, member in sorted(self._members.items()):
            # Hidden folders have no entry of their own in every zip file.
            if name.startswith(self._prefix) and len(name) > start and not (
                    name.endswith('/') and is_hidden(name[start:])):
                link = stat.S_ISLNK(member.external_attr >> 16)
                yield name[start:], ZIPPED_LINK if link else ''
