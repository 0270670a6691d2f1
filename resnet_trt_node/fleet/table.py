"""The answers to the frames of a unit as Parquet; docs/how-to/fleet.md describes the columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import json
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from resnet_trt_node.bag.messages import BagImage
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import (
    AnswerError, DamagedPictureError, DataError, FrameError, KeyFrameMissing)
from resnet_trt_node.fleet.extra import needs_fleet_extra

with needs_fleet_extra():
    import pyarrow as pa
    import pyarrow.parquet as pq

#: The version of the columns, one more when one is renamed or removed, or means something else.
SCHEMA = '1'
#: The keys of a file's metadata: that version, and what became of the unit's frames, as JSON.
SCHEMA_KEY, UNIT_KEY = 'resnet_trt.schema', 'resnet_trt.unit'
#: The outcome of a frame or region that the model answered.
ANSWERED = 'answered'
#: The outcome of a frame that `every_ms` passes over; it has no row.
NOT_SAMPLED = 'not_sampled'
COLUMNS = pa.schema([
    ('drive', pa.string()), ('bag', pa.string()), ('topic', pa.string()),
    ('stamp_ns', pa.int64()), ('log_time_ns', pa.int64()), ('frame', pa.int64()),
    ('region_id', pa.string()), ('outcome', pa.string()),
    ('classes', pa.list_(pa.string())), ('class_indices', pa.list_(pa.int32())),
    ('scores', pa.list_(pa.float32())), ('entropy', pa.float32()),
    ('model', pa.string()), ('model_sha256', pa.string()), ('software_version', pa.string()),
], metadata={SCHEMA_KEY: SCHEMA})
_ROWS = 4096
_MOST_ERRORS = 5
#: The outcome of a frame by the error, the first that applies.
_REASONS = (
    (AnswerError, 'no_answer'), (DamagedPictureError, 'damaged'),
    (KeyFrameMissing, 'no_key_frame'), (FrameError, 'bad_frame'))


def reason_of(error: FrameError) -> str:
    """Return the outcome of a frame that cannot be used."""
    return next(name for kind, name in _REASONS if isinstance(error, kind))


@dataclass
class Counts:
    """
    What became of the frames of a unit.

    :param frames_in: frames read from the bag, counted as they are read.
    :param frames: frames by their outcome, counted as that is known.
    :param regions: regions by their outcome.
    :param errors: the first errors in words.
    :param warnings: of the bag.
    """

    frames_in: int = 0
    frames: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def add_up(self) -> bool:
        """Return whether every frame that was read has an outcome."""
        return self.frames_in == sum(self.frames.values())

    def document(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {'in': self.frames_in, 'answered': self.frames[ANSWERED],
                'skipped': {name: number for name, number in sorted(self.frames.items())
                            if name != ANSWERED},
                'regions': dict(sorted(self.regions.items()))}


class UnitTable:
    """
    The rows of a unit, encoded as they come.

    :param constants: the columns that are the same in all rows.
    """

    def __init__(self, constants: Mapping[str, str]) -> None:
        self.counts = Counts()
        self._constants = constants
        self._rows: list[dict[str, Any]] = []
        self._sink = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._sink, COLUMNS, compression='zstd')

    def frame(
            self, image: BagImage, number: int, predictions: Sequence[Prediction],
            entropy: Optional[float]) -> None:
        """
        Add an answered frame.

        :param image: the frame.
        :param number: of the image in its topic, from 0.
        :param predictions: falling scores.
        :param entropy: of all probabilities in nats; None for a multi-label model.
        """
        self.counts.frames[ANSWERED] += 1
        self._add(image.topic, image.stamp_ns, image.log_time_ns, number, ANSWERED, None,
                  predictions, entropy)

    def skipped(
            self, topic: str, stamp_ns: Optional[int], log_time_ns: int, number: int,
            outcome: str, error: str = '') -> None:
        """
        Add a frame without an answer.

        :param outcome: why, in one word.
        :param error: why, in words.
        """
        self.counts.frames[outcome] += 1
        if error and len(self.counts.errors) < _MOST_ERRORS:
            self.counts.errors.append(f'{topic} {number}: {error}')
        self._add(topic, stamp_ns, log_time_ns, number, outcome, None, (), None)

    def region(
            self, image: BagImage, number: int, region_id: str, outcome: str,
            predictions: Sequence[Prediction], entropy: Optional[float]) -> None:
        """Add a region of a frame; the frame itself is counted by `count_frame`."""
        self.counts.regions[outcome] += 1
        self._add(image.topic, image.stamp_ns, image.log_time_ns, number, outcome, region_id,
                  predictions, entropy)

    def count_frame(self, outcome: str) -> None:
        """Count a frame that has no row of its own."""
        self.counts.frames[outcome] += 1

    def finish(self, unit: Mapping[str, Any]) -> bytes:
        """
        Return the file.

        :param unit: what says which unit it is, for JSON; the counts are added.
        """
        self._flush()
        self._writer.add_key_value_metadata({SCHEMA_KEY: SCHEMA, UNIT_KEY: json.dumps(
            {**unit, **self.counts.document(), 'errors': self.counts.errors,
             'warnings': self.counts.warnings})})
        self._writer.close()
        content: bytes = self._sink.getvalue().to_pybytes()
        return content

    def _add(
            self, topic: str, stamp_ns: Optional[int], log_time_ns: int, number: int,
            outcome: str, region_id: Optional[str], predictions: Sequence[Prediction],
            entropy: Optional[float]) -> None:
        self._rows.append({
            **self._constants, 'topic': topic, 'stamp_ns': stamp_ns, 'log_time_ns': log_time_ns,
            'frame': number, 'region_id': region_id, 'outcome': outcome,
            'classes': [one.label for one in predictions],
            'class_indices': [one.index for one in predictions],
            'scores': [one.score for one in predictions], 'entropy': entropy})
        if len(self._rows) == _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, COLUMNS))
            self._rows.clear()


def read_unit(path: Path, content: Optional[bytes] = None) -> dict[str, Any]:
    """
    Return what a unit's file says about the unit: which it is, and what became of its frames.

    :param path: of the file.
    :param content: of the file, None to read it.
    :raises DataError: if the file is damaged or of another version.
    """
    try:
        found = pq.read_metadata(
            path if content is None else pa.BufferReader(content)).metadata or {}
        schema = found[SCHEMA_KEY.encode()].decode()
        document: dict[str, Any] = json.loads(found[UNIT_KEY.encode()])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(
            f'{path} is no file of a fleet run ({error}): remove it, and give --resume to have it '
            'made again') from error
    if schema != SCHEMA:
        raise DataError(
            f'{path} has schema {schema}, and this version writes {SCHEMA}: choose another '
            'folder with --output')
    return document
