"""The manifest of a run: what was asked for, and what became of every bag and unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, ExitStack, suppress
from dataclasses import dataclass, field
from errno import EACCES
import fcntl
import json
import os
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from resnet_trt_node import __version__
from resnet_trt_node.atomic_file import replacing
from resnet_trt_node.errors import DataError, UsageError
from resnet_trt_node.fleet.bags import absolute, Bag
from resnet_trt_node.fleet.table import ANSWERED, read_unit, SCHEMA
from resnet_trt_node.fleet.units import Unit
from resnet_trt_node.json_document import json_document
from resnet_trt_node.regular_file import read_regular

MANIFEST, FRAMES = 'manifest.json', 'frames'
#: States of a unit, and of a bag: those of its units, or failed where it could not be opened.
PLANNED, DONE, FAILED = 'planned', 'done', 'failed'
#: Why the frames of a unit that failed have no answer.
UNIT_FAILED = 'unit_failed'
_MAX_BYTES = 2**32


@dataclass
class UnitRecord:
    """
    What became of a unit.

    :param unit: which it is.
    :param state: `PLANNED`, `DONE` or `FAILED`.
    :param counts: of its frames, as its file has them.
    :param error: why it failed.
    """

    unit: Unit
    state: str = PLANNED
    counts: Mapping[str, Any] = field(default_factory=dict)
    error: Optional[str] = None

    @property
    def file(self) -> str:
        """Return the path of its file in the folder of the run."""
        return f'{FRAMES}/drive={self.unit.drive}/unit-{self.unit.number:06d}.parquet'

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        found: dict[str, Any] = {'unit': self.unit.number, 'state': self.state}
        if self.state == DONE:
            return {**found, 'file': self.file, **{
                key: self.counts[key] for key in ('in', 'answered', 'skipped', 'errors')}}
        return {**found, 'in': self.unit.images, 'error': self.error}


@dataclass
class BagRecord:
    """
    What became of a bag.

    :param bag: which it is.
    :param units: its units, once it is planned.
    :param error: why it could not be planned.
    :param warnings: of the bag.
    """

    bag: Bag
    units: Optional[list[UnitRecord]] = None
    error: Optional[str] = None
    warnings: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """Return the worst state of its units."""
        if self.error is not None:
            return FAILED
        states = {PLANNED} if self.units is None else {one.state for one in self.units}
        return next((one for one in (FAILED, PLANNED) if one in states), DONE)

    def frames(self) -> dict[str, Any]:
        """Return how many frames came in, were answered and were skipped, by reason."""
        frames_in = answered = 0
        skipped: Counter[str] = Counter()
        regions: Counter[str] = Counter()
        for one in self.units or ():
            if one.state == DONE:
                frames_in += one.counts['in']
                answered += one.counts[ANSWERED]
                skipped.update(one.counts['skipped'])
                regions.update(one.counts['regions'])
            else:
                frames_in += one.unit.images
                skipped[UNIT_FAILED if one.state == FAILED else PLANNED] += one.unit.images
        return {'in': frames_in, 'answered': answered, 'skipped': dict(sorted(skipped.items())),
                'regions': dict(sorted(regions.items()))}

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        warnings = list(dict.fromkeys([*self.warnings, *(
            line for one in self.units or () for line in one.counts.get('warnings', ()))]))
        return {
            'bag': self.bag.name, 'drive': self.bag.drive, 'state': self.state,
            'error': self.error, 'warnings': warnings, 'frames': self.frames(),
            'units': [one.document() for one in self.units or ()]}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """
    Keep other processes from writing to the folder of a run; remove what killed ones left.

    :param path: of the folder, which is made.
    :raises UsageError: if another process writes to it, or it cannot be written to.
    """
    with ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
            lock = stack.enter_context(open(path / '.lock', 'a'))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f'another process writes to {path}: wait for it, or choose another folder with '
                '--output') from error
        except OSError as error:
            raise UsageError(
                f'cannot write to {path}: {error.strerror or error}; choose another --output'
            ) from error
        for left in [*path.glob('.*.tmp'), *path.glob(f'{FRAMES}/*/.*.tmp')]:
            with suppress(FileNotFoundError):
                left.unlink()
        yield


class RunFolder:
    """
    The folder of a run, which one process writes to: make it inside `locked`.

    :param path: of the folder, which is there.
    :param head: what was asked for: `model`, `model_sha256` and `options`.
    :param resume: whether a run that is there is continued.
    :raises UsageError: if there is a run and it is not to be resumed or had other options, or if
        its manifest cannot be read.
    :raises DataError: if its manifest is damaged.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self._head = head
        self.bags: list[BagRecord] = []
        before = self._before(resume)
        #: Drive by the name of the bag, of the run that is resumed.
        self.drives: dict[str, str] = {one['bag']: one['drive'] for one in before}
        self._earlier = {one['bag']: one for one in before}

    def take(self, bags: Sequence[Bag]) -> list[BagRecord]:
        """Add the bags of this run, and return their records."""
        self.bags = [BagRecord(bag) for bag in bags]
        return self.bags

    def planned(self, record: BagRecord, units: Sequence[Unit]) -> list[UnitRecord]:
        """
        Add the units of a bag.

        :returns: those that have no file yet.
        :raises DataError: if a file is of another unit: the bag changed.
        """
        record.units = [UnitRecord(unit) for unit in units]
        for one in record.units:
            path = self.path / one.file
            if not path.exists():
                continue
            found = read_unit(path)
            found['bag'] = absolute(str(found.get('bag')))
            # As JSON has it.
            wanted = json.loads(json.dumps(one.unit.document()))
            if {key: found.get(key) for key in wanted} != wanted:
                raise DataError(
                    f'{record.bag.name} has changed since {path} was made of it: remove the '
                    f'folder {path.parent} to have all of the bag made again')
            one.state, one.counts = DONE, found
        self._refuse_surplus(record)
        return [one for one in record.units if one.state != DONE]

    def write(self, one: UnitRecord, content: bytes) -> None:
        """
        Write a unit's file; it is there whole or not at all.

        :raises OSError: if that fails.
        """
        path = self.path / one.file
        # From memory: a disk that cannot be read back would end the run.
        counts = read_unit(path, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        one.state, one.counts = DONE, counts

    def document(self, with_units: bool = True) -> dict[str, Any]:
        """
        Return the manifest.

        :param with_units: whether each bag has its units.
        """
        named = {one.bag.name for one in self.bags}
        bags = [*(one for name, one in self._earlier.items() if name not in named),
                *map(self._document_of, self.bags)]
        if not with_units:
            bags = [{key: value for key, value in one.items() if key != 'units'} for one in bags]
        return json_document('fleet', {
            'schema': SCHEMA, 'software_version': __version__, **self._head,
            'frames': _total([one['frames'] for one in bags]), 'bags': bags})

    def save(self) -> None:
        """
        Write the manifest.

        :raises OSError: if that fails.
        """
        with replacing(self.path / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self.document(), indent=1), encoding='utf-8')

    def _document_of(self, record: BagRecord) -> dict[str, Any]:
        """Return a bag for JSON: as the earlier run left it, until it is planned again."""
        earlier = self._earlier.get(record.bag.name)
        if earlier is None or record.units is not None:
            return record.document()
        return earlier if record.error is None else {
            **earlier, 'state': FAILED, 'error': record.error}

    def _before(self, resume: bool) -> list[dict[str, Any]]:
        """Return the bags of the run that is there."""
        file = self.path / MANIFEST
        try:
            text = read_regular(file, _MAX_BYTES) if file.exists() else None
        except OSError as error:
            raise UsageError(
                f'cannot read {file}: {error.strerror or error}; choose another folder with '
                '--output') from error
        if text is None:
            if (self.path / FRAMES).exists():
                raise UsageError(
                    f'{self.path} has {FRAMES}/ and no {MANIFEST}: choose another folder with '
                    '--output')
            return []
        if not resume:
            raise UsageError(
                f'{self.path} has a run already: give --resume to do what it lacks, or choose '
                'another folder with --output')
        try:
            found = json.loads(text)
            schema, bags = found['schema'], list(found['bags'])
            for one in bags:
                _check(one)
                # Some manifests have names as they were typed.
                one['bag'] = absolute(one['bag'])
            differing = [
                f'{name} was {found["options"].get(name)!r}, and is {value!r} now'
                for name, value in self._head['options'].items()
                if found['options'].get(name) != value]
            if found['model_sha256'] != self._head['model_sha256']:
                differing.insert(0, f'the model was {found["model"]} of another content')
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f'{file} is damaged ({error!r}): choose another folder with --output') from error
        if schema != SCHEMA:
            differing.insert(0, f'its schema is {schema}, and this version writes {SCHEMA}')
        if differing:
            raise UsageError(
                f'{self.path} cannot be resumed, its run was another: {"; ".join(differing)}. '
                'Choose another folder with --output')
        return bags

    def _refuse_surplus(self, record: BagRecord) -> None:
        """Refuse files of units that the bag no longer has."""
        assert record.units is not None
        wanted = {Path(one.file).name for one in record.units}
        folder = self.path / FRAMES / f'drive={record.bag.drive}'
        for file in folder.glob('unit-*.parquet'):
            if file.name not in wanted:
                raise DataError(
                    f'{record.bag.name} has changed since {file} was made of it: remove the '
                    f'folder {folder} to have all of the bag made again')


def _check(bag: Any) -> None:
    """
    Check what is used of a bag of an earlier run.

    :raises KeyError, TypeError, ValueError, AttributeError: if it is damaged.
    """
    frames = bag['frames']
    sum([frames['in'], frames['answered'], *frames['skipped'].values(),
         *frames['regions'].values()])
    texts = [bag[key] for key in ('bag', 'drive', 'state')] + list(bag['warnings'])
    if not all(isinstance(one, str) for one in texts) or '/' in bag['drive']:
        raise ValueError(f'of {bag["bag"]!r}')


def _total(frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    skipped: Counter[str] = Counter()
    regions: Counter[str] = Counter()
    for one in frames:
        skipped.update(one['skipped'])
        regions.update(one['regions'])
    return {'in': sum(one['in'] for one in frames),
            'answered': sum(one['answered'] for one in frames),
            'skipped': dict(sorted(skipped.items())), 'regions': dict(sorted(regions.items()))}
