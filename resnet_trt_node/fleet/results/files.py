"""The folder that a fleet run writes: its manifest, and its Parquet files in small batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path, PurePosixPath
from typing import Any, Optional, Union

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resnet_trt_node.errors import DataError
from resnet_trt_node.fleet.table import COLUMNS, SCHEMA, SCHEMA_KEY
from resnet_trt_node.text.printable import one_line, printable, some

# Those of `fleet.manifest`, which needs more than PyArrow.
MANIFEST, FRAMES = 'manifest.json', 'frames'
#: What an answer without a class above the threshold is counted as.
NO_CLASS = '(no class)'
_PARTITION = 'drive='
#: Rows that are in memory at a time.
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Unit:
    """
    A file of frames.

    :param path: the file.
    :param rows: number of its rows.
    """

    path: Path
    rows: int


class Results:
    """
    The results of one run; nothing of them is kept in memory but the names of the files.

    :param folder: what `resnet_trt fleet --output` named.
    :raises DataError: if it holds no results, or those of another version of the columns.
    """

    def __init__(self, folder: Union[str, Path]) -> None:
        self.folder = Path(folder)
        #: What is missing, such as the manifest.
        self.warnings: list[str] = []
        #: Frames without an answer by the reason, as the manifest counts them: also those that
        #: have no row.
        self.skipped: Counter[str] = Counter()
        #: Bags that are not done, to the reason.
        self.incomplete: dict[str, str] = {}
        # Also those without a row: regions may be found on none of them.
        self._frames_in = 0
        self._units: dict[str, list[Unit]] = {}
        for path in sorted((self.folder / FRAMES).glob(f'{_PARTITION}*/unit-*.parquet')):
            drive = path.parent.name.removeprefix(_PARTITION)
            self._units.setdefault(drive, []).append(_checked(path))
        #: Model, sha256 and software version, of the manifest or of the first row.
        self.model = self.model_sha256 = self.software_version = ''
        self._read_manifest()
        if self.rows:
            row = next(self.batches(('model', 'model_sha256', 'software_version')))
            self.model, self.model_sha256, self.software_version = (
                str(column[0].as_py()) for column in row.columns)
        elif not self._frames_in:
            raise DataError(
                f'{self.folder} holds no frames of a fleet run: name the folder that '
                '`resnet_trt fleet --output` wrote')
        if self.incomplete:
            bags = [printable(one, 80) for one in self.incomplete]
            self.warnings.append(
                f'{self.folder} is not complete, of {len(bags)} bags frames are missing: '
                f'{some(bags, 3)}; run `resnet_trt fleet` with --resume')

    @property
    def drives(self) -> tuple[str, ...]:
        """Return the names of the drives, sorted."""
        return tuple(sorted(self._units))

    @property
    def rows(self) -> int:
        """Return the number of rows: whole frames, or regions of them."""
        return sum(map(self.rows_of, self._units))

    def rows_of(self, drive: str) -> int:
        """Return the number of rows of a drive, 0 for one that is not here."""
        return sum(unit.rows for unit in self._units.get(drive, ()))

    def batches(
            self, columns: Sequence[str], drive: Optional[str] = None,
            frames: Optional[range] = None) -> Iterator[Any]:
        """
        Yield the rows of all drives or of one, in the order of drives and files.

        :param columns: of `COLUMNS`.
        :param drive: its name, None for all.
        :param frames: only rows with these values of `frame`, which is then one of the columns.
        :returns: record batches of at most 65,536 rows, none of them empty.
        :raises DataError: while iterating, if a file is damaged.
        """
        for name in self.drives if drive is None else [drive]:
            for unit in self._units.get(name, ()):
                for batch in _read(unit.path, columns, frames):
                    if frames is not None:
                        numbers = batch.column('frame')
                        batch = batch.filter(pc.and_(
                            pc.greater_equal(numbers, frames.start),
                            pc.less(numbers, frames.stop)))
                    if batch.num_rows:
                        yield batch.select(columns)

    def table(self, columns: Sequence[str], drive: str, frames: range) -> Any:
        """Return the rows of a stretch of a drive as a table, as `batches` yields them."""
        batches = self.batches(columns, drive, frames)
        return pa.Table.from_batches(batches, pa.schema(map(COLUMNS.field, columns)))

    def bag_of(self, drive: str) -> str:
        """Return the path or address of the bag of a drive that has rows."""
        return str(next(self.batches(('bag',), drive)).column('bag')[0].as_py())

    def last_frame(self, drive: str) -> int:
        """Return the highest value of `frame` of a drive."""
        return max(int(pc.max(batch.column('frame')).as_py())
                   for batch in self.batches(('frame',), drive))

    def _read_manifest(self) -> None:
        path = self.folder / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
            if manifest['schema'] != SCHEMA:
                raise DataError(_other_schema(path, manifest['schema']))
            self.skipped = Counter(manifest['frames']['skipped'])
            self._frames_in = int(manifest['frames']['in'])
            self.model, self.model_sha256, self.software_version = (
                str(manifest[key]) for key in ('model', 'model_sha256', 'software_version'))
            for bag in manifest['bags']:
                self._take_bag(bag)
        except FileNotFoundError:
            self.warnings.append(
                f'{self.folder} has no {MANIFEST}: run `resnet_trt fleet` with --resume')
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f'cannot read {path} ({one_line(error)}): copy it again, or run `resnet_trt '
                'fleet` with --resume') from error

    def _take_bag(self, bag: Mapping[str, Any]) -> None:
        """Take what became of a bag of the manifest."""
        units = [one for one in bag['units'] if one['state'] != 'done']
        error = bag['error'] or next((one['error'] for one in units if one['error']), None)
        if bag['state'] != 'done':
            self.incomplete[str(bag['bag'])] = str(error or 'not done yet')
        files = {unit.path.name for unit in self._units.get(bag['drive'], ())}
        missing = [one['file'] for one in bag['units'] if one['state'] == 'done'
                   and PurePosixPath(one['file']).name not in files]
        if missing:
            self.incomplete[str(bag['bag'])] = f'{missing[0]} is missing: copy the results again'


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a Parquet file; what goes wrong with it becomes a `DataError`."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f'cannot read {path} ({printable(one_line(error))}): copy it again, or remove it and '
            'run `resnet_trt fleet` with --resume') from error


def _checked(path: Path) -> Unit:
    with _opened(path) as file:
        found = (file.schema_arrow.metadata or {}).get(SCHEMA_KEY.encode())
        version = None if found is None else found.decode(errors='replace')
        if version != SCHEMA:
            raise DataError(_other_schema(path, version))
        for column in COLUMNS:
            if file.schema_arrow.get_field_index(column.name) < 0 \
                    or file.schema_arrow.field(column.name).type != column.type:
                raise DataError(
                    f'{path} has no column {column.name} of {column.type}: it is no file of a '
                    'fleet run, remove it')
        return Unit(path, file.metadata.num_rows)


def _other_schema(path: Path, version: object) -> str:
    return (f'{path} has version {printable(version)} of the results, and this resnet_trt reads '
            f'{SCHEMA}: use the one that wrote it, or run `resnet_trt fleet` again')


def _read(path: Path, columns: Sequence[str], frames: Optional[range]) -> Iterator[Any]:
    """Yield the batches of a file, of row groups that may hold the frames."""
    with _opened(path) as file:
        groups = [
            number for number in range(file.metadata.num_row_groups)
            if frames is None or _may_hold(file.metadata.row_group(number), frames)]
        if groups:
            yield from file.iter_batches(
                _BATCH_ROWS, row_groups=groups, columns=list(columns), use_threads=False)


def _may_hold(group: Any, frames: range) -> bool:
    for place in range(group.num_columns):
        column = group.column(place)
        if column.path_in_schema == 'frame' and column.statistics is not None \
                and column.statistics.has_min_max:
            return bool(
                column.statistics.max >= frames.start and column.statistics.min < frames.stop)
    return True


def element(lists: Any, place: int) -> Any:
    """
    Return one element of each list.

    :param lists: a list array of n lists.
    :param place: from 0.
    :returns: an array of n elements, null where the list is shorter or null.
    """
    offsets = lists.offsets.to_numpy()[:-1].astype(np.int64)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return lists.values.take(pa.array(offsets + place, mask=lengths <= place))


def first_classes(lists: Any) -> Any:
    """Return the best class of each list of them, `NO_CLASS` where there is none."""
    return pc.fill_null(element(lists, 0), NO_CLASS)


def floats(values: Any) -> Any:
    """Return numbers as float64 (n,), NaN for null; owned by the caller."""
    return np.array(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False), np.float64)
