"""Ready models: which an index has, and getting one whole, checked and only once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
import hashlib
from pathlib import Path
from typing import Callable, Tuple, Union
from urllib.parse import urlsplit, urlunsplit

from resnet_trt_node.atomic_file import check_place, whole_file
from resnet_trt_node.contract.model_file import (
    file_sha256, parse_model, read_model, require_onnx, spec_in)
from resnet_trt_node.downloads.index import INDEX_FILE, IndexEntry, read_index
from resnet_trt_node.downloads.transfer import (
    cache_folder, copy_checked, is_address, Source, Watch)
from resnet_trt_node.errors import DownloadError, UsageError
from resnet_trt_node.text.printable import some
from resnet_trt_node.user_folders import full_path

#: Names the index where no option does.
INDEX_VARIABLE = 'RESNET_TRT_INDEX'
#: How a model came to be where it was asked for.
FETCHED, COPIED, PRESENT = 'fetched', 'copied from the cache', 'already there'
#: More than any index has.
MAX_INDEX_BYTES = 4 << 20


@dataclass(frozen=True)
class IndexPlace:
    """
    Where an index and its models lie.

    :param index: address or path of the index's file.
    """

    index: Union[str, Path]

    @classmethod
    def of(cls, text: str) -> IndexPlace:
        """
        Return the place that is meant by a folder, an address, or either of the index itself.

        :raises UsageError: for an address that is not http or https, and for the home folder of
            an unknown user.
        """
        if is_address(text):
            parts = urlsplit(text)
            path = parts.path if parts.path.endswith('.json') else (
                f'{parts.path.rstrip("/")}/{INDEX_FILE}')
            return cls(urlunsplit(parts._replace(path=path, fragment='')))
        # The shell leaves a ~ alone in --index=~/models and in variables.
        folder = full_path('the index', text)
        return cls(folder if folder.suffix == '.json' else folder / INDEX_FILE)

    def beside(self, name: str) -> Union[str, Path]:
        """Return address or path of a file beside the index."""
        if isinstance(self.index, Path):
            return self.index.with_name(name)
        parts = urlsplit(self.index)
        return urlunsplit(parts._replace(path=f'{parts.path.rpartition("/")[0]}/{name}'))


def models_at(place: IndexPlace, log: Callable[[str], None]) -> Tuple[IndexEntry, ...]:
    """
    Read an index; one that cannot be reached is taken from the last time that it could.

    :param place: of the index.
    :param log: takes one line if so.
    :raises DownloadError: if it cannot be had, or is none.
    """
    kept = cache_folder() / 'indexes' / (
        hashlib.sha256(str(place.index).encode()).hexdigest()[:16] + '.json')
    remote = isinstance(place.index, str)
    try:
        data = _content(place.index)
    except DownloadError as error:
        if not remote:
            raise DownloadError(
                f'{error}: name a folder with an {INDEX_FILE}, which tools/make_model_index.py '
                'makes') from error
        try:
            data = _content(kept)
        except DownloadError:
            raise DownloadError(
                f'{error}: look at the address and the network, or copy {INDEX_FILE} and the '
                'file of a model from there into a folder and pass --index FOLDER') from error
        log(f'{error}: using the index that was read from there before')
        remote = False
    try:
        entries = read_index(data)
    except DownloadError as error:
        raise DownloadError(f'the index {place.index} cannot be used: {error}') from error
    if remote:
        # Only for later: where nothing can be written, the model may still go elsewhere.
        with suppress(UsageError), whole_file(kept) as temporary:
            temporary.write_bytes(data)
    return entries


def _content(place: Union[str, Path]) -> bytes:
    pieces, count = [], 0
    with Source(place) as source:
        for piece in iter(lambda: source.read(1 << 16), b''):
            pieces.append(piece)
            count += len(piece)
            if count > MAX_INDEX_BYTES:
                raise DownloadError(f'{place} is no index: it has more than 4 MiB')
    if source.size not in (None, count):
        raise DownloadError(f'{place} broke off after {count} of {source.size} bytes')
    return b''.join(pieces)


def named(entries: Tuple[IndexEntry, ...], name: str) -> IndexEntry:
    """
    Return the model of a name.

    :param entries: those of the index.
    :param name: the model's.
    :raises UsageError: if there is none, with the names that there are.
    """
    for entry in entries:
        if entry.name == name:
            return entry
    names = [entry.name for entry in entries]
    similar = get_close_matches(name, names, 1)
    raise UsageError(f'the index has no model {name!r}: ' + (
        f'did you mean {similar[0]}?' if similar else
        f'it has {some(names, 10)}' if names else 'it has none at all'))


def default_path(entry: IndexEntry) -> Path:
    """Return where a model is kept unless it is asked for elsewhere; a new version is beside."""
    return cache_folder() / 'models' / f'{entry.name}-{entry.sha256[:8]}.onnx'


def fetch_model(
        place: IndexPlace, entry: IndexEntry, path: Path, watch: Watch) -> str:
    """
    Get a model, unless it is there already.

    It appears whole, with the size and sha256 of the index, and as a deployable model; or not at
    all, and what was at its place stays.

    :param place: of the index.
    :param entry: of the index.
    :param path: the file to write.
    :param watch: is called with the bytes that come, see `copy_checked`.
    :returns: one of `FETCHED`, `COPIED` and `PRESENT`.
    :raises DownloadError: if it cannot be had, with where to put it by hand.
    :raises ModelError: if it is no deployable model.
    :raises BackendUnavailable: if the package onnx is not installed.
    :raises UsageError: if the place cannot be written to.
    """
    if _is_there(path, entry):
        return PRESENT
    check_place(path)
    # Before megabytes come that cannot be checked then.
    require_onnx()
    kept, origin = default_path(entry), place.beside(entry.file)
    copied = path != kept and _is_there(kept, entry)
    with whole_file(path) as temporary:
        try:
            with Source(kept if copied else origin) as source:
                copy_checked(source, temporary, entry.sha256, entry.bytes, watch)
        except DownloadError as error:
            raise DownloadError(f'{error}: {_by_hand(origin, path)}') from error
        # Under its origin's name: the temporary one means nothing to anybody.
        spec_in(parse_model(read_model(temporary), origin), origin)
    return COPIED if copied else FETCHED


def _by_hand(origin: Union[str, Path], path: Path) -> str:
    """Return what to do where a model cannot be fetched."""
    if isinstance(origin, Path):
        return f'copy {origin.name} into that folder again, or name another one with --index'
    there = ', where another file is now,' * path.exists()
    return (f'download {origin} on another computer, put it at {path}{there} and run this command '
            'again, which checks it')


def _is_there(path: Path, entry: IndexEntry) -> bool:
    with suppress(OSError):
        return path.stat().st_size == entry.bytes and file_sha256(path) == entry.sha256
    return False
