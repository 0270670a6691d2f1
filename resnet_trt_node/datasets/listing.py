"""
What a folder or zip file of pictures holds: the one walk through folders of all commands.

Links are followed, those in a circle not. What is left out is remembered with the reason, so that
nothing is left out in silence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from lzma import LZMAError
import os
from pathlib import Path, PurePosixPath
import re
import stat
from typing import Callable, IO, Iterable, Iterator, Mapping, Union
from zipfile import BadZipFile
import zlib

from resnet_trt_node.errors import DataError
from resnet_trt_node.imaging.compressed.picture_formats import is_readable, what_is_missing
from resnet_trt_node.regular_file import open_regular

#: What reading a file raises, or a member of a zip file that is damaged or encrypted.
READ_ERRORS = (
    BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error, LZMAError, EOFError,
    UnicodeDecodeError)
#: Why something is left out, beside the endings.
HIDDEN, BROKEN_LINK, CIRCLE, NO_FILE = 'hidden', 'broken link', 'link in a circle', 'no file'
ZIPPED_LINK, SHADOWED = 'link in a zip file', 'of a name that is there twice'
#: Those of these that have no content.
NO_FILES = (BROKEN_LINK, CIRCLE, NO_FILE, ZIPPED_LINK, SHADOWED)
#: What macOS adds to zip files, a hidden file beside each picture.
_MACOS = '__MACOSX'
_ENDING = re.compile(r'\.[A-Za-z0-9_+-]{1,12}')
#: Kinds that are counted one by one; the rest is summed up.
_SHOWN = 8
_START_BYTES = 64
#: Endings of pictures that need more than Pillow at times.
_NEEDING = ('.heic', '.heif', '.hif', '.avif')


@dataclass
class Listing:
    """
    What there is, by names relative to the root, with '/' between their parts.

    :param pictures: files that are taken for pictures, sorted.
    :param folders: all folders at any depth but hidden ones, sorted.
    :param unread: all else to what it is: a file's ending or a reason.
    """

    pictures: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)


def list_names(
        names: Iterable[tuple[str, str]], open_file: Callable[[str], IO[bytes]]) -> Listing:
    """
    Sort out what a folder or zip file holds.

    :param names: each name, folders with a '/' at the end, with a reason why it is left out, ''
        where there is none.
    :param open_file: opens a file, by its name.
    """
    def read_start(name: str) -> bytes:
        try:
            with open_file(name) as file:
                return file.read(_START_BYTES)
        except READ_ERRORS:
            # Then it is counted among those that were not read.
            return b''

    listing = Listing()
    folders: set[str] = set()
    for name, reason in names:
        path = PurePosixPath(name)
        if not reason and is_hidden(name):
            reason = HIDDEN
        if reason:
            listing.unread[name] = reason
            continue
        folders.update(
            str(part) for part in ([path] if name.endswith('/') else []) + list(path.parents)
            if str(part) != '.')
        if name.endswith('/'):
            continue
        if is_readable(path.suffix, partial(read_start, name)):
            listing.pictures.append(name)
        else:
            missing = what_is_missing(read_start(name)) if path.suffix.lower() in _NEEDING else ''
            listing.unread[name] = ending_of(name) + (f' ({missing})' if missing else '')
    listing.pictures.sort()
    listing.folders = sorted(folders)
    return listing


def is_hidden(name: str) -> bool:
    """Tell whether a file is hidden or lies in a folder that is, such as macOS's __MACOSX."""
    return any(part.startswith('.') or part == _MACOS for part in PurePosixPath(name).parts)


def ending_of(name: str) -> str:
    """Return a file's ending, lower case, or in words where it has none to be shown."""
    suffix = PurePosixPath(name).suffix
    if not suffix:
        return 'without ending'
    return suffix.lower() if _ENDING.fullmatch(suffix) else 'of other endings'


def describe_unread(counts: Mapping[str, int]) -> str:
    """
    Return the line that says how many files were not read, '' if there are none.

    :param counts: how many of each kind, see `Listing.unread`.
    """
    total = sum(counts.values())
    if not total:
        return ''
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f'{number} {kind}' for kind, number in ranked[:_SHOWN]]
    rest = sum(number for _, number in ranked[_SHOWN:])
    return (f'{total} {"file was" if total == 1 else "files were"} not read: '
            + ', '.join(shown + ([f'{rest} others'] if rest else [])))


def describe_several(count: int) -> str:
    """
    Return the line that says of how many pictures only one frame was read, '' if of none.

    :param count: how many hold several frames or pages.
    """
    if not count:
        return ''
    hold, each = ('picture holds', 'it') if count == 1 else ('pictures hold', 'each')
    return (f'{count} {hold} several frames or pages, such as an animation: the first of {each} '
            'was read')


def count_unread(listing: Listing, *read: str) -> Counter[str]:
    """
    Return how many of each kind were not read.

    :param read: names of files that were read after all, such as a table.
    """
    return Counter(kind for name, kind in listing.unread.items() if name not in read)


def list_folder(root: Union[str, Path]) -> Listing:
    """
    Sort out what a folder holds.

    :raises DataError: if it or a folder in it cannot be read.
    """
    root = Path(root)
    return list_names(walk_folder(root), lambda name: open_regular(root / name))


def walk_folder(root: Path) -> Iterator[tuple[str, str]]:
    """
    Give all that a folder holds, as `list_names` takes it, in a fixed order.

    Links to folders are followed as `find -L` does it: unless they lead to a folder that they lie
    in. Hidden folders are given, but not entered.

    :raises DataError: if a folder cannot be read.
    """
    # Each folder with its name and the device and inode of those around it and itself.
    waiting = [(root, '', frozenset([_identity(os.stat(root))]))]
    while waiting:
        folder, prefix, around = waiting.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(
                f'cannot read the folder {folder}: {error.strerror or error}') from error
        inner = []
        for entry in entries:
            name = f'{prefix}{entry.name}'
            try:
                status = entry.stat()
            except OSError:
                yield name, BROKEN_LINK
                continue
            if stat.S_ISREG(status.st_mode):
                yield name, ''
            elif not stat.S_ISDIR(status.st_mode):
                yield name, NO_FILE
            elif _identity(status) in around:
                yield name, CIRCLE
            else:
                yield f'{name}/', ''
                if not is_hidden(entry.name):
                    inner.append((folder / entry.name, f'{name}/', around | {_identity(status)}))
        waiting.extend(reversed(inner))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
