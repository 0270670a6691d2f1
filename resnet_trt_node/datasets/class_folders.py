"""Pictures sorted into one folder for each class, in a folder or a zip file."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
import os
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, Optional, Sequence, TypeVar, Union

from resnet_trt_node.datasets.class_words import choose_reading, ClassWords, NAMES
from resnet_trt_node.datasets.labelled import PictureSet
from resnet_trt_node.datasets.listing import count_unread, describe_unread
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.text.printable import some

_FORM = 'lay pictures out as CLASS/picture.jpg, one folder for each class'
#: Names of a data set's parts, which are no classes.
TRAIN_NAMES = ('train', 'training')
VALIDATION_NAMES = ('val', 'valid', 'validation', 'test')
#: Pictures that a thread decodes at a time.
_CHUNK = 8
_Result = TypeVar('_Result')


@dataclass(frozen=True)
class CorruptPicture:
    """
    A picture that cannot be decoded.

    :param name: the file, relative to the data set.
    :param reason: why.
    """

    name: str
    reason: str


#: A picture with what came of decoding it.
_Outcome = tuple[LabelledPicture, Union[_Result, CorruptPicture]]


class ClassFolders(PictureSet):
    """
    A data set of CLASS/picture.jpg.

    Pictures may lie deeper within a class's folder; hidden files and those that are
    no pictures are left out and counted.

    :param root: a folder, a zip file, or a folder within a zip file: 'pictures.zip/test'.
    :param classes: class names that give the indices, such as a model's labels, of which some
        may be absent here; the folders are called by them, or by WordNet ids or indices. None
        takes the folders, sorted, of which there must be two.
    :param max_bytes: see `PictureStore`.
    :raises DataError: if it cannot be read, has no or one class, an empty or unknown one or one
        whose name is no Unicode, or pictures outside of the classes' folders.
    """

    def __init__(
            self, root: Union[str, Path], classes: Optional[Sequence[str]] = None,
            max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        super().__init__(root, max_bytes)
        try:
            found = self._pictures_by_class()
            _check_names(found, self.store.root)
            self.unread = count_unread(self.store.listing)
            _check_count(found, self.store.root, classes, describe_unread(self.unread))
            #: Class names in the order of the indices.
            self.classes: tuple[str, ...] = tuple(
                sorted(found) if classes is None else classes)
            index = self._indices(sorted(found))
            unknown = sorted(set(found) - set(index))
            there = {index[name] for name in found if name in index}
            if unknown:
                lacking = [
                    name for number, name in enumerate(self.classes) if number not in there]
                raise DataError(
                    f'{self.store.root} has folders of unknown classes: {some(unknown)}; classes '
                    f'without a folder: {some(lacking) or "none"}'
                    + _wrapping_hint(found, self.store.root, '; '))
            # Class by class.
            self.items = tuple(
                LabelledPicture(name, index[folder])
                for folder in sorted(found) for name in found[folder])
        except BaseException:
            self.close()
            raise
        #: Classes that have no folder here, where the classes were given.
        self.absent: tuple[str, ...] = tuple(
            name for number, name in enumerate(self.classes) if number not in there)

    def counts(self) -> dict[str, int]:
        """Return how many pictures each class has, 0 for absent ones."""
        numbers = Counter(item.target for item in self.items)
        return {name: numbers[index] for index, name in enumerate(self.classes)}

    def _indices(self, folders: Sequence[str]) -> Mapping[str, int]:
        """
        Return the class of each folder that has one, and note how its name was read.

        Names come first: a model that was trained on folders such as '7' has that as a name.
        """
        readings = ClassWords(self.classes).readings(folders)
        reading = next((one for one in readings if one.reads(folders)), None) or choose_reading(
            readings, folders, str(self.store.root))
        if reading.kind != NAMES and reading.reads(folders):
            # The first that shows which order was taken: '10' is the third of 0 to 10 as texts.
            shown = next((one for place, one in enumerate(folders)
                          if one.isdigit() and reading.places[one] != place), folders[0])
            self.assumptions = (
                *self.assumptions,
                f'{self.store.root}: the names of the folders were read as classes by '
                f'{reading.kind}: {shown} is {self.classes[reading.places[shown]]!r}')
        return reading.places

    def _pictures_by_class(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {
            name: [] for name in self.store.listing.folders if '/' not in name}
        strays = []
        for name in self.store.listing.pictures:
            folder, slash, _ = name.partition('/')
            if slash:
                found[folder].append(name)
            else:
                strays.append(name)
        if strays:
            raise DataError(
                f"{len(strays)} pictures of {self.store.root} lie outside of the classes' "
                f'folders: {some(strays)}; {_FORM}')
        return found


def find_parts(root: Union[str, Path]) -> dict[str, str]:
    """
    Find the parts of a data set that is divided already.

    :param root: a folder or a zip file.
    :returns: 'train' and 'validation', each where it is there, to the folder's path, which
        `ClassFolders` takes; empty where the data set is not divided.
    :raises DataError: if it cannot be read.
    """
    parts: dict[str, str] = {}
    with PictureStore(root) as store:
        folders = store.listing.folders
        for part, names in (('train', TRAIN_NAMES), ('validation', VALIDATION_NAMES)):
            # A class may be called 'train': a part holds folders.
            for name in names:
                if any(folder.startswith(f'{name}/') for folder in folders):
                    parts.setdefault(part, str(Path(root) / name))
    return parts


def decoded(
        items: Sequence[LabelledPicture], decode: Callable[[LabelledPicture], _Result],
        threads: int = 0) -> Iterator[_Outcome[_Result]]:
    """
    Decode pictures by several threads, in their order.

    :param items: pictures of a data set.
    :param decode: such as `ClassFolders.frame`; called by the threads, raises `FrameError`.
    :param threads: how many, 0 for as many as there are processors, at most 16.
    :returns: each picture with what `decode` returned, or with what is wrong with it.
    """
    if threads < 0:
        raise UsageError(f'--threads {threads}: choose 0 or more')
    count = threads or min(16, os.cpu_count() or 1)

    def attempt(item: LabelledPicture) -> _Outcome[_Result]:
        try:
            return item, decode(item)
        except FrameError as error:
            return item, CorruptPicture(item.name, str(error))

    # Chunks, since handing over one small picture takes as long as decoding it; few at a time,
    # since photographs are large.
    waiting: deque[Future[list[_Outcome[_Result]]]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for start in range(0, len(items), _CHUNK):
                waiting.append(pool.submit(
                    lambda chunk: list(map(attempt, chunk)), items[start:start + _CHUNK]))
                if len(waiting) > 2 * count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def refuse_corrupt(*parts: tuple[Sequence[CorruptPicture], int, Union[str, Path]]) -> None:
    """
    Refuse data sets with corrupt pictures.

    :param parts: of each data set, what was found, how many pictures there are, and its root for
        the message; nothing happens if nothing was found.
    :raises DataError: listing them.
    """
    corrupt = [one for found, _, _ in parts for one in found]
    if corrupt:
        places = ' and '.join(
            f'{len(found)} of {count} pictures in {root}' for found, count, root in parts if found)
        raise DataError(
            f'{places} are corrupt: fix or remove them, or pass --skip-bad to go on without '
            'them; '
            + some([f'{one.name} ({one.reason})' for one in corrupt]))


def find_corrupt(
        pictures: ClassFolders, items: Optional[Sequence[LabelledPicture]] = None,
        step: Callable[[], None] = lambda: None, threads: int = 0) -> list[CorruptPicture]:
    """
    Decode every picture once and return those that cannot be.

    :param pictures: the data set.
    :param items: which of its pictures, None for all.
    :param step: called after each picture, for a progress bar.
    :param threads: see `decoded`.
    """
    corrupt = []
    for _, result in decoded(
            pictures.items if items is None else items, pictures.frame, threads):
        if isinstance(result, CorruptPicture):
            corrupt.append(result)
        step()
    return corrupt


def _check_names(found: Iterable[str], root: Path) -> None:
    # Models and tables hold class names as UTF-8; file names may be any bytes.
    wrong = [name for name in sorted(found) if any('\ud800' <= sign <= '\udfff' for sign in name)]
    if wrong:
        shown = [os.fsencode(name).decode('utf-8', 'backslashreplace') for name in wrong]
        raise DataError(
            f'{root} has class folders whose names are not UTF-8: {some(shown)}; rename them')


def _check_count(
        found: dict[str, list[str]], root: Path, classes: Optional[Sequence[str]],
        unread: str) -> None:
    if not found:
        raise DataError(
            f'{root} has no class folders: {_FORM}' + (f'; {unread}' if unread else ''))
    parts = sorted(set(found) & {*TRAIN_NAMES, *VALIDATION_NAMES})
    if len(parts) == len(found) and all(
            name.count('/') > 1 for names in found.values() for name in names):
        raise DataError(
            f'{root} is divided into {some(parts)}: name one of them, such as {root}/{parts[0]}')
    empty = sorted(folder for folder, names in found.items() if not names)
    if empty:
        raise DataError(
            f'{root} has class folders without pictures that can be read: {some(empty)}; fill '
            'or remove them'
            + (f'; {unread}' if unread else ''))
    if classes is None and len(found) < 2:
        raise DataError(
            f'{root} has one class only, {", ".join(found)}: a classifier needs at least two; '
            + _wrapping_hint(found, root, end=', or ') + _FORM)


def _wrapping_hint(
        found: dict[str, list[str]], root: Path, start: str = '', end: str = '') -> str:
    """Say what to name where the only folder seems to hold the classes; '' where it does not."""
    if len(found) > 1:
        return ''
    (only, names), = found.items()
    if not any(name.count('/') > 1 for name in names):
        return ''
    return f'{start}name {root}/{only} if the folders in it are the classes{end}'
