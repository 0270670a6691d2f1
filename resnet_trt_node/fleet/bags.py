"""The bags that a command line names: paths, folders, globs, lists in files, and addresses."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import EACCES
from hashlib import sha256
import os
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from resnet_trt_node.bag.storage.names import (
    BAG_SUFFIXES, METADATA, PACKED_SUFFIXES, storage_suffix)
from resnet_trt_node.errors import BagError, DataError
from resnet_trt_node.fleet.extra import needs_fleet_extra
from resnet_trt_node.regular_file import read_regular
from resnet_trt_node.text.printable import one_line

with needs_fleet_extra():
    import fsspec

_GLOB = frozenset('*?[')
#: A list of more bags than this is none.
_MAX_LIST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Bag:
    """
    A bag of the run.

    :param name: the absolute path, or the address, of its folder or file.
    :param drive: name of its folder in the output.
    """

    name: str
    drive: str


def find_bags(words: Sequence[str], known: Mapping[str, str]) -> list[Bag]:
    """
    Return the bags that are named, each once, in the order of the words.

    A folder with a metadata.yaml is a bag, and then no file in it is another; in any other each
    message file is one, also in its subfolders, but for hidden ones. Names that links lead to the
    same bag are one.

    :param words: paths, folders, globs, addresses as fsspec has them, or @FILE for a list of
        these, one a line, whose relative paths start at the list's folder.
    :param known: drive by name, of the run that is resumed.
    :raises DataError: if a word has no bags, or a store cannot be listed.
    :raises BagError: if a path is not there, or a folder cannot be listed.
    """
    earlier = {_place(name): name for name in known}
    found: dict[str, str] = {}
    for name in (name for word in words for name in _expand(word)):
        place = _place(name)
        # Rather the bag's own name than that of a link to it.
        if place not in found or name == place:
            found[place] = name
    names = [earlier.get(place, name) for place, name in found.items()
             if place.rpartition('/')[0] not in found or not _is_message_file(place)]
    stems = Counter(map(_stem, names))
    taken = set(known.values())
    return [Bag(name, known.get(name) or (
        _stem(name) if stems[_stem(name)] == 1 and _stem(name) not in taken
        else f'{_stem(name)}~{sha256(name.encode()).hexdigest()[:8]}')) for name in names]


def is_address(name: str) -> bool:
    """Return whether a bag is in a store rather than on this machine."""
    return '://' in name


def absolute(name: str) -> str:
    """Return the name of a bag for any working folder; an address stays as it is."""
    if is_address(name):
        return name
    # Behind a link '..' is another folder than in the path as it is written.
    return os.path.realpath(name) if '..' in Path(name).parts else os.path.abspath(name)


def _place(name: str) -> str:
    """Return what two names of one bag have in common."""
    return name if is_address(name) else os.path.realpath(name)


def _expand(word: str) -> Iterator[str]:
    if word.startswith('@') and not os.path.exists(word):
        yield from _listed(Path(word[1:]))
    elif is_address(word):
        yield from _stored(word)
    elif _GLOB & set(word) and not os.path.exists(word):
        found = sorted(_matching(word))
        if not found:
            raise DataError(f'{word} matches nothing: check the pattern')
        yield from (name for one in found for name in _local(one, must=False))
    else:
        yield from _local(Path(word), must=True)


def _matching(pattern: str) -> Iterator[Path]:
    """Yield what matches a pattern; '**' follows no links, which may lead back."""
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if _GLOB & set(part))
    base, parts = Path(*parts[:fixed]), parts[fixed:]
    for length in range(len(parts)):
        for folder in base.glob('/'.join(parts[:length])) if length else [base]:
            if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
                raise _not_listed(PermissionError(EACCES, os.strerror(EACCES), str(folder)))
    with_hidden = any(part.startswith('.') for part in parts)
    for path in base.glob('/'.join(parts)):
        if (with_hidden or not _is_hidden(path.relative_to(base))) and (
                not pattern.endswith('/') or path.is_dir()):
            yield path


def _listed(path: Path) -> Iterator[str]:
    try:
        lines = read_regular(path, _MAX_LIST_BYTES).decode('utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f'cannot read the list of bags {path}: '
            f'{getattr(error, "strerror", None) or error}') from error
    words = [word for word in map(str.strip, lines) if word and not word.startswith('#')]
    if not words:
        raise DataError(f'the list {path} names no bag: write one on each line')
    for word in words:
        if word.startswith('@'):
            raise DataError(f'the list {path} names the list {word[1:]}: write its bags instead')
        yield from _expand(word if is_address(word) else str(path.parent / word))


def _local(path: Path, must: bool) -> Iterator[str]:
    if not os.path.exists(path):
        comment = ', and write a comment on a line of its own' if ' #' in str(path) else ''
        raise BagError(f'there is no bag {path}: check the path{comment}')
    if not path.is_dir():
        if path.name == METADATA:
            yield absolute(str(path.parent))
        elif must or _is_message_file(str(path)):
            yield absolute(str(path))
        return
    found = list(_group(_files(absolute(str(path)))))
    if must and not found:
        raise DataError(f'there are no bags in {path}: name a folder that has some')
    yield from found


def _files(folder: str) -> Iterator[str]:
    """Yield the files in a folder and its subfolders; those behind links last, and only once."""
    waiting = deque([folder])
    seen: set[str] = set()
    while waiting:
        for path, folders, names in os.walk(waiting.popleft(), onerror=_fail):
            place = os.path.realpath(path)
            folders[:] = [] if place in seen else [
                one for one in folders if not _is_hidden(PurePosixPath(one))]
            if place in seen:
                continue
            seen.add(place)
            waiting += filter(os.path.islink, (os.path.join(path, one) for one in folders))
            yield from (os.path.join(path, name) for name in names)


def _is_hidden(path: PurePath) -> bool:
    """Return whether a part of a path is hidden, or for file system repair, which root reads."""
    return any(part.startswith('.') or part == 'lost+found' for part in path.parts)


def _fail(error: OSError) -> None:
    raise _not_listed(error) from error


def _not_listed(error: OSError) -> BagError:
    return BagError(
        f'cannot list {error.filename}: {error.strerror}: make it readable, or name the bags '
        'without it')


def _stored(word: str) -> Iterator[str]:
    try:
        store, path = open_store(word)
        files = store.glob(path) if _GLOB & set(path) else [path]
        folders = [one for one in files if store.isdir(one)]
        files = [one for one in files if one not in folders]
        files += [one for folder in folders for one in store.find(folder) if not _is_hidden(
            PurePosixPath(one.removeprefix(folder)).parent)]
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
        elif _is_message_file(str(one)) and one.parent not in folders \
                and not one.name.startswith('.'):
            yield str(one)


def _is_message_file(name: str) -> bool:
    return storage_suffix(Path(name)) in BAG_SUFFIXES


def _stem(name: str) -> str:
    """Return the name of a bag without its folder and suffixes, as a drive's folder has it."""
    path = Path(name.rstrip('/'))
    if path.suffix in PACKED_SUFFIXES:
        path = path.with_suffix('')
    stem = path.stem if path.suffix in BAG_SUFFIXES else path.name
    # As Hive's partitions are written; '.' and '..' would be other folders.
    return ''.join(one if one.isalnum() or one in '-_.+~ ' else f'%{ord(one):02X}'
                   for one in stem).lstrip('.') or 'bag'
