"""Finds the files of a bag on disk, and describes a damaged one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Optional

from resnet_trt_node.bag.storage.metadata import Metadata, read_metadata
from resnet_trt_node.bag.storage.names import (
    BAG_SUFFIXES, METADATA, PACKED_SUFFIXES, storage_suffix, STORAGES)
from resnet_trt_node.errors import BagError
from resnet_trt_node.regular_file import open_regular
from resnet_trt_node.text.printable import some

# The first bytes of a file by its suffix, and the error for other ones.
_ZSTD = (b'\x28\xb5\x2f\xfd', 'it is not compressed by zstd')
_MAGICS = {
    '.mcap': (b'\x89MCAP0\r\n', 'it does not start like an mcap file'),
    '.db3': (b'SQLite format 3\x00', 'it is not an SQLite database'),
    '.bag': (b'#ROSBAG V2.0\n', 'it does not start like a ROS 1 bag'),
    **dict.fromkeys(PACKED_SUFFIXES, _ZSTD)}
_HEAD_BYTES = max(len(magic) for magic, _ in _MAGICS.values())


def find_bag(path: Path) -> tuple[Path, list[Path], Metadata, list[str]]:
    """
    Find the files of a bag.

    :param path: a rosbag2 folder or the metadata.yaml in it, a .mcap or .db3 file, compressed or
        not, or a ROS 1 .bag file.
    :returns: the folder or file, its message files, the content of metadata.yaml (empty without
        one), and warnings about missing files and what was assumed.
    :raises BagError: if there is no bag.
    """
    if not path.exists():
        raise BagError(f'there is no bag {path}: check the path')
    if path.name == METADATA and not path.is_dir():
        path = path.parent
    try:
        if not path.is_dir():
            check_file(path)
            return path, [path], Metadata((), {}), []
        if (path / METADATA).exists():
            metadata = _read_metadata(path)
            files, notes = _listed_files(path, metadata)
        else:
            metadata = Metadata((), {})
            files, notes = _unlisted_files(path)
        for file in files:
            check_file(file)
    except OSError as error:
        inside = error.filename is not None and Path(error.filename) != path
        raise BagError(
            f'cannot read the bag {path}: {Path(error.filename).name + ": " if inside else ""}'
            f'{error.strerror or error}'
            + ('; check its permissions' if isinstance(error, PermissionError) else '')
        ) from error
    return path, files, metadata, notes


def check_file(path: Path) -> None:
    """
    Check by its first bytes that a file is a message file.

    :raises BagError: if it is not, with a remedy.
    :raises OSError: if it cannot be read.
    """
    with open_regular(path) as file:
        head = file.read(_HEAD_BYTES)
    kind = storage_suffix(path)
    if kind not in BAG_SUFFIXES:
        raise BagError(
            f'{path} is not a bag: name a rosbag2 folder, a .mcap or .db3 file, or a ROS 1 .bag '
            'file')
    magic, problem = _MAGICS[path.suffix]
    if not head.startswith(magic):
        raise BagError(f'{path} is not a bag: {problem}')


def _read_metadata(folder: Path) -> Metadata:
    try:
        return read_metadata(folder / METADATA)
    except BagError as error:
        raise BagError(
            f'cannot read the bag {folder}: {METADATA} is damaged, {error}: remove it, then the '
            'topics are read from the other files') from error


def _message_files(folder: Path) -> list[Path]:
    """Return a folder's files of messages by name, without the hidden ones that macOS adds."""
    return sorted(file for file in folder.iterdir() if storage_suffix(file) in STORAGES
                  and not file.name.startswith('.'))


def _listed_files(folder: Path, metadata: Metadata) -> tuple[list[Path], list[str]]:
    """Return the listed files that exist, and warnings about the others."""
    if not metadata.files:
        found = _message_files(folder)
        if not found:
            raise BagError(
                f'cannot read the bag {folder}: its .mcap or .db3 files are missing, copy them '
                f'beside {METADATA}')
        return found, [
            f'{folder}: {METADATA} lists no files, all that exist are read: '
            f'{some([file.name for file in found])}']
    files: dict[Path, Path] = {}
    missing, empty = [], []
    for name in metadata.files:
        file = _find(folder, name)
        if file is None:
            missing.append(name)
        elif file.is_file() and not file.stat().st_size:
            empty.append(name)
        else:
            files.setdefault(file.resolve(), file)
    notes = [
        f'{folder}: of the files that {METADATA} lists, {some(names)} '
        f'{"is" if len(names) == 1 else "are"} {what}: only the others are read'
        for names, what in ((missing, 'missing'), (empty, 'empty')) if names]
    if not files:
        raise BagError(
            f'cannot read the bag {folder}: the files that {METADATA} lists are missing or empty, '
            f'copy them beside it: {some(metadata.files)}')
    return list(files.values()), notes


def _unlisted_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the files of a folder without metadata.yaml, and a warning that names them."""
    found = _message_files(folder)
    if not found:
        raise BagError(
            f'{folder} is not a bag: a rosbag2 folder holds .mcap or .db3 files, and {METADATA} '
            'beside them')
    if len({storage_suffix(file) for file in found}) > 1:
        raise BagError(
            f'the bag {folder} has no {METADATA}, and .mcap as well as .db3 files, which may hold '
            'the same messages: name one of its files')
    # One that was unpacked may still be beside its compressed file; recorders create empty ones.
    files = [
        file for file in found if file.stat().st_size
        and not (file.suffix in PACKED_SUFFIXES and file.with_suffix('') in found)]
    if not files:
        raise BagError(f'the bag {folder} is empty: record it again, no message is in it')
    return files, [
        f'{folder}: it has no {METADATA}, the topics are read from the files, which are taken for '
        f'one recording: {some([file.name for file in files])}']


def _find(folder: Path, name: str) -> Optional[Path]:
    """
    Return the path of a listed file, None if it does not exist.

    Old versions of rosbag2 list it with the folder's name, some tools with the absolute path of
    the recording; and it may have been compressed or decompressed since.
    """
    path = Path(name)
    places = [folder / path, folder / path.name]
    if path.suffix in PACKED_SUFFIXES:
        places.append(folder / path.stem)
    else:
        places += [folder / (path.name + suffix) for suffix in PACKED_SUFFIXES]
    if path.is_absolute():
        places.append(places.pop(0))  # of a moved bag the files in its new folder come first
    with suppress(ValueError):  # not a valid file name
        return next((place for place in places if place.exists()), None)
    return None
