"""
Tiles found by measuring, kept in one JSON file for each processor and number of threads.

They lie beside the engines. A record belongs to a shape of layer, not to a model, so a network
that was trained again, or another one with the same layers, is fast at once.
"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import json
import os
from pathlib import Path
from typing import Dict, Optional

from resnet_trt_node.backends.engines.files import (
    prepare_folder, read_trusted, sha256_of, UntrustedFile, write_atomically)
from resnet_trt_node.backends.engines.side_file import parse_json
from resnet_trt_node.backends.tvm.workload import default_tile, Registers, Tile, Workload
from resnet_trt_node.errors import BackendError

_FORMAT = 1
#: Records of ten thousand shapes of layers are 2 MB.
_MAX_BYTES = 32 << 20


@dataclass(frozen=True)
class Record:
    """
    What measuring found.

    :param tile: the fastest tile.
    :param microseconds: what the layer took with it, median.
    :param default_microseconds: what it took with the tile that is chosen without measuring.
    :param trials: tiles measured.
    """

    tile: Tile
    microseconds: float
    default_microseconds: float
    trials: int


class TuningDatabase:
    """
    The records of one processor.

    :param folder: where the file lies.
    :param machine: what the records hold for, in words: TVM, processor, features, threads.
    :param registers: those of the processor, for layers without a record.
    :raises BackendError: for a file that is malformed or that others may write.
    """

    def __init__(self, folder: Path, machine: str, registers: Registers) -> None:
        self.machine = machine
        self.registers = registers
        self.path = folder / f'tvm-tiles-{sha256_of(machine.encode())[:20]}.json'
        self.records: Dict[Workload, Record] = {}
        self._read()

    def tile(self, workload: Workload) -> Tile:
        """Return the tile to use: the measured one, or the one that looks best."""
        record = self.records.get(workload)
        return default_tile(workload, self.registers) if record is None else record.tile

    def digest(self) -> str:
        """Return what changes when any record's tile does, 'none' without records."""
        if not self.records:
            return 'none'
        tiles = {str(workload): record.tile.to_json()
                 for workload, record in self.records.items()}
        return hashlib.sha256(json.dumps(tiles, sort_keys=True).encode()).hexdigest()[:12]

    def add(self, workload: Workload, record: Record) -> None:
        """Keep a record; it is on disk after `save`."""
        self.records[workload] = record

    def save(self) -> None:
        """
        Write the file, whole or not at all.

        :raises BackendError: if that is impossible.
        """
        values = {
            'format': _FORMAT, 'machine': self.machine,
            'records': {
                str(workload): {
                    'tile': record.tile.to_json(),
                    'microseconds': round(record.microseconds, 3),
                    'default_microseconds': round(record.default_microseconds, 3),
                    'trials': record.trials}
                for workload, record in sorted(
                    self.records.items(), key=lambda item: str(item[0]))}}
        try:
            prepare_folder(self.path.parent)
            write_atomically(self.path, json.dumps(values, indent=1).encode())
        except OSError as error:
            raise BackendError(
                f'cannot write the tuning database {self.path} ({error.strerror or error}): '
                'free some space or choose another --engine-dir') from error

    def _read(self) -> None:
        content = self._content()
        if content is None:
            return
        try:
            values = parse_json(content)
            if values['format'] != _FORMAT or values['machine'] != self.machine:
                raise ValueError('it is of another format or machine')
            for text, record in values['records'].items():
                workload = Workload.parse(text)
                self.records[workload] = Record(
                    Tile.from_json(record['tile'], workload), float(record['microseconds']),
                    float(record['default_microseconds']), int(record['trials']))
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise BackendError(
                f'the tuning database {self.path} is malformed ({error!s:.200}): delete it, and '
                'tune again') from error

    def _content(self) -> Optional[bytes]:
        try:
            return read_trusted(self.path, os.geteuid(), _MAX_BYTES)
        except FileNotFoundError:
            return None
        except UntrustedFile as error:
            raise BackendError(f'the tuning database is not used: {error}') from error
        except OSError as error:
            raise BackendError(
                f'cannot read the tuning database {self.path} ({error.strerror or error}): make '
                'it readable, or delete it') from error
