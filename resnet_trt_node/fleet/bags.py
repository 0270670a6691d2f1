"""The bags that a command line names: paths, folders, globs, lists in files, and addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
import glob
from hashlib import sha256
import os
from pathlib import Path, PurePosixPath
from typing import Any

from resnet_trt_node.bag.storage.names import (
    BAG_SUFFIXES, METADATA, PACKED_SUFFIXES, storage_suffix)
from resnet_trt_node.errors import BagError, DataError
from resnet_trt_node.fleet.extra import needs_fleet_extra
from resnet_trt_node.printable import one_line
from resnet_trt_node.regular_file import read_regular

with needs_fleet_extra():
    import fsspec

_GLOB = frozenset('*?[')
#: A list of more bags than this is none.
_MAX_LIST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Bag:
    """
    A bag of the run.

    :param name: the path or address of its folder or file.
    :param drive: name of its folder in the output.
    """

    name: str
    drive: str


def find_bags(words: Sequence[str], known: Mapping[str, str]) -> list[Bag]:
    """
    Return the bags that are named, each once, in the order of the words.

    A folder with a metadata.yaml is a bag; in any other each message file is one, also in its
    subfolders.

    :param words: paths, folders, globs, addresses as fsspec has them, or @FILE for a list of
        these, one a line, whose relative paths start at the list's folder.
    :param known: drive by name, of the run that is resumed.
    :raises DataError: if a word has no bags, or a store cannot be listed.
    :raises BagError: if a path is not there.
    """
    names = list(dict.fromkeys(name for word in words for name in _expand(word)))
    stems = Counter(map(_stem, names))
    taken = set(known.values())
    return [Bag(name, known.get(name) or (
        _stem(name) if stems[_stem(name)] == 1 and _stem(name) not in taken
        else f'{_stem(name)}~{sha256(name.encode()).hexdigest()[:8]}')) for name in names]


def is_address(name: str) -> bool:
    """Return whether a bag is in a store rather than on this machine."""
    return '://' in name


def _expand(word: str) -> Iterator[str]:
    if word.startswith('@') and not Path(word).exists():
        yield from _listed(Path(word[1:]))
    elif is_address(word):
        yield from _stored(word)
    elif not Path(word).exists() and _GLOB & set(word):
        found = sorted(glob.glob(word, recursive=True))
        if not found:
            raise DataError(f'{word} matches nothing: check the pattern')
        yield from (name for one in found for name in _local(Path(one), must=False))
    else:
        yield from _local(Path(word), must=True)


def _listed(path: Path) -> Iterator[str]:
    try:
        lines = read_regular(path, _MAX_LIST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f'cannot read the list of bags {path}: '
            f'{getattr(error, "strerror", None) or error}') from error
    words = [line.strip() for line in lines if line.strip() and not line.startswith('#')]
    if not words:
        raise DataError(f'the list {path} names no bag: write one on each line')
    for word in words:
        if word.startswith('@'):
            raise DataError(f'the list {path} names the list {word[1:]}: write its bags instead')
        yield from _expand(word if is_address(word) else str(path.parent / word))


def _local(path: Path, must: bool) -> Iterator[str]:
    if not path.exists():
        raise BagError(f'there is no bag {path}: check the path')
    if not path.is_dir():
        if path.name == METADATA:
            yield str(path.parent)
        elif must or storage_suffix(path) in BAG_SUFFIXES:
            yield str(path)
        return
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path, followlinks=True)
             for name in names]
    found = list(_group(files))
    if must and not found:
        raise DataError(f'there are no bags in {path}: name a folder that has some')
    yield from found


def _stored(word: str) -> Iterator[str]:
    try:
        store, path = open_store(word)
        files = store.glob(path) if _GLOB & set(path) else [path]
        folders = [one for one in files if store.isdir(one)]
        files = [one for one in files if one not in folders]
        files += [one for folder in folders for one in store.find(folder)]
        found = [store.unstrip_protocol(one) for one in _group(files)]
        if not folders and found and not store.exists(path) and not _GLOB & set(path):
            found = []
    except Exception as error:  # noqa: B902  each store has errors of its own
        raise DataError(
            f'cannot list {word}: {one_line(error)}: check the address and the credentials, which '
            'are read from the environment') from error
    if not found:
        raise DataError(f'there are no bags at {word}: check the address')
    yield from found


def open_store(address: str) -> tuple[Any, str]:
    """
    Return the file system of an address, and the path in it.

    :raises ImportError: of fsspec, if the package for the store is not installed.
    """
    store, path = fsspec.core.url_to_fs(address)
    return store, path


def _group(files: Iterable[str]) -> Iterator[str]:
    """Yield the bags that files are of: the folders with a metadata.yaml, and single files."""
    paths = sorted(PurePosixPath(one) for one in files)
    folders = {one.parent for one in paths if one.name == METADATA}
    for one in paths:
        if one.name == METADATA:
            yield str(one.parent)
        # macOS adds a hidden file of the same suffix to each one that it copies.
        elif storage_suffix(Path(one)) in BAG_SUFFIXES and one.parent not in folders \
                and not one.name.startswith('.'):
            yield str(one)


def _stem(name: str) -> str:
    """Return the name of a bag without its folder and suffixes, as a drive's folder has it."""
    path = Path(name.rstrip('/'))
    if path.suffix in PACKED_SUFFIXES:
        path = path.with_suffix('')
    stem = path.stem if path.suffix in BAG_SUFFIXES else path.name
    # As Hive's partitions are written; '.' and '..' would be other folders.
    return ''.join(one if one.isalnum() or one in '-_.+~ ' else f'%{ord(one):02X}'
                   for one in stem).lstrip('.') or 'bag'
