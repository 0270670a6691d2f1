"""Bags for runs over many of them, what a run has written, and work that goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
import json
import os
from pathlib import Path
import signal
from typing import Any, Sequence

from bags.image_bags import BagWriter
from mcap.reader import make_reader
from models.tiny_model import COLOURS
import numpy as np
from PIL import Image
from resnet_trt_node.fleet.units import Unit, Work

START_NS = 1_700_000_000 * 10**9
PERIOD_NS = 100_000_000
#: Drive and number of a unit to what goes wrong there, 'kill', 'fail' or 'kill_actor', and how
#: often; -1 is always.
Faults = dict[tuple[str, int], tuple[str, int]]


def frame_of(number: int) -> bytes:
    """Return a small jpeg picture that differs with the number."""
    random = np.random.default_rng(number)
    colour = np.array(list(COLOURS.values())[number % len(COLOURS)])
    pixels = colour * random.uniform(0.4, 1) + random.uniform(0, 60, (24, 32, 3))
    file = BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, 'JPEG')
    return file.getvalue()


def write_drive(
        path: Path, frames: int, storage: str = 'mcap', broken: Sequence[int] = (),
        seed: int = 0) -> Path:
    """
    Write a bag of compressed images of two cameras, the second at half the rate.

    :param path: of the bag's folder, returned.
    :param frames: of the first camera.
    :param broken: frames of the first camera that are no picture.
    :param seed: drives with other seeds show other pictures.
    """
    with BagWriter(path, storage) as bag:
        for number in range(frames):
            stamp_ns = START_NS + number * PERIOD_NS
            data = b'no picture' if number in broken else frame_of(seed * 1000 + number)
            bag.write_compressed('/front/image/compressed', data, 'jpeg', stamp_ns, 'front')
            if number % 2 == 0:
                bag.write_compressed('/left/image/compressed', frame_of(
                    seed * 1000 + 500 + number), 'jpeg', stamp_ns, 'left')
    return path


def write_raw_drive(path: Path, frames: int, side: int = 600) -> Path:
    """Write a bag of raw images of one camera, of 600 pixels each in a chunk of its own."""
    with BagWriter(path) as bag:
        for number in range(frames):
            pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
            # Of one colour more than of the others, so that classes differ.
            pixels[..., number % 3] |= 128
            bag.write_image(
                '/front/image', pixels, START_NS + number * PERIOD_NS, 'front', 'rgb8')
    return path


def chunks_of(path: Path) -> int:
    """Return how many chunks the mcap file in a bag has."""
    file, = path.glob('*.mcap')
    with file.open('rb') as opened:
        return len(make_reader(opened).get_summary().chunk_indexes)


def damage(path: Path, number: int) -> None:
    """Overwrite the start of a chunk of the mcap file in a bag."""
    file, = path.glob('*.mcap')
    with file.open('r+b') as opened:
        chunk = make_reader(opened).get_summary().chunk_indexes[number]
        # Behind the type and the length of the record.
        opened.seek(chunk.chunk_start_offset + 9)
        opened.write(b'\xff' * 64)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a run, by drive, topic, frame and region."""
    from pyarrow import parquet
    rows = [row for file in sorted(folder.glob('frames/drive=*/unit-*.parquet'))
            for row in parquet.ParquetFile(file).read().to_pylist()]
    return sorted(rows, key=lambda row: (
        row['drive'], row['topic'], row['frame'], row['region_id'] or ''))


def manifest_of(folder: Path) -> Any:
    """Return the manifest of a run."""
    return json.loads((folder / 'manifest.json').read_text(encoding='utf-8'))


@dataclass(frozen=True)
class FaultyWork:
    """
    Work that goes wrong in some units.

    :param work: what is done else.
    :param folder: where is noted what has gone wrong, so that it does so a number of times.
    :param faults: what goes wrong where.
    """

    work: Work
    folder: Path
    faults: Faults

    def doing(self, work: Work) -> FaultyWork:
        """Return the same faults in other work."""
        return FaultyWork(work, self.folder, self.faults)

    def plan(self, bag: Any, drive: str, name: str) -> list[Unit]:
        """Divide a bag."""
        return self.work.plan(bag, drive, name)

    def run(self, bag: Any, unit: Unit, backend: Any, table: Any) -> None:
        """Do the work, unless it goes wrong."""
        what, times = self.faults.get((unit.drive, unit.number), ('', 0))
        if self._is_due(unit, times):
            if what == 'kill':
                os.kill(os.getpid(), signal.SIGKILL)
            if what == 'fail':
                raise OSError(5, 'Input/output error')
            if what == 'kill_actor':
                _kill_an_actor()
        self.work.run(bag, unit, backend, table)

    def _is_due(self, unit: Unit, times: int) -> bool:
        for time in range(times if times >= 0 else 1000):
            try:
                (self.folder / f'{unit.drive}-{unit.number}-{time}').touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False

    @property
    def happened(self) -> int:
        """Return how much has gone wrong."""
        return len(list(self.folder.iterdir()))


def _kill_an_actor() -> None:
    """Kill a process that holds the model, of those that this one's Ray has started."""
    import psutil
    raylet = psutil.Process().parent()
    actors = [one for one in raylet.children(recursive=True)
              if one.cmdline()[:1] and one.cmdline()[0].startswith('ray::ModelActor')]
    actors[0].kill()
