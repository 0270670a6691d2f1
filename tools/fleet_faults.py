"""
Run a fleet of 200 units with 30 injected faults, and compare it with a run without.

Processes are killed with SIGKILL while they read a unit or hold the model, reading fails, chunks
of bags are overwritten, and the disk is full when a unit is written. Some faults happen once,
others always. Then the bags are repaired, and --resume does what is missing. Prints one JSON
document; the exit code is 0 if every frame was accounted for and the output is that of the run
without faults. Needs requirements/fleet.txt and requirements/test.txt.

Usage: python tools/fleet_faults.py [--folder DIR] [--out report.json]
"""

from __future__ import annotations

import argparse
from contextlib import redirect_stderr, redirect_stdout
import errno
import io
import json
import os
from pathlib import Path
import random
import sys
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Iterator

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'test' / 'helpers')]
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, sys.path))

from fleets.fleet_drives import (  # noqa: E402
    chunks_of, damage, Faults, FaultyWork, manifest_of, rows_of, write_raw_drive)
from models.tiny_model import write_tiny_model  # noqa: E402
from resnet_trt_node.cli.classification import fleet  # noqa: E402
from resnet_trt_node.cli.main import main as resnet_trt  # noqa: E402
from resnet_trt_node.fleet.manifest import RunFolder, UnitRecord  # noqa: E402

DRIVES, UNITS, FRAMES_OF_UNIT = 8, 25, 4
#: Faults by what happens, and how often; -1 is always.
PLAN = (('kill', 1, 8), ('kill', -1, 3), ('kill_actor', 1, 4), ('fail', 2, 5), ('fail', -1, 2))
OFTEN = {1: 'once', 2: 'twice', -1: 'always'}
DAMAGED, FULL = 5, 3


def run(work: Any, *words: object) -> int:
    """Run a fleet in this process, on a Ray of its own, without its output."""
    plain = fleet._work
    fleet._work = lambda arguments: work(plain(arguments))
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return resnet_trt(['fleet', *map(str, words)])
    finally:
        fleet._work = plain


def fill_disk(full: set[tuple[str, int]]) -> Any:
    """Have the files of some units find no room; return what undoes that."""
    plain = RunFolder.write

    def write(folder: RunFolder, one: UnitRecord, content: bytes) -> None:
        if (one.unit.drive, one.unit.number) in full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(folder, one, content)
    RunFolder.write = write  # type: ignore[method-assign]
    return lambda: setattr(RunFolder, 'write', plain)


def deal(places: Iterator[tuple[str, int]]) -> tuple[Faults, list[tuple[str, int]], set[Any]]:
    """Return what goes wrong where: in the work, in the bags, and on the disk."""
    faults: Faults = {
        next(places): (what, times) for what, times, number in PLAN for _ in range(number)}
    return (faults, [next(places) for _ in range(DAMAGED)], {next(places) for _ in range(FULL)})


def check(folder: Path) -> dict[str, Any]:
    """Return the report of three runs below a folder."""
    model = write_tiny_model(folder / 'colours.onnx')
    drives = [write_raw_drive(folder / 'drives' / f'drive{number}', UNITS * FRAMES_OF_UNIT, 300)
              for number in range(DRIVES)]
    words = (model, folder / 'drives', '--backend', 'onnxruntime', '--unit-frames',
             FRAMES_OF_UNIT, '--batch-size', 4)
    took = {}

    def timed(name: str, work: Any, *more: object) -> int:
        start = perf_counter()
        code = run(work, *words, *more)
        took[name] = round(perf_counter() - start, 1)
        return code
    code_clean = timed('without faults', lambda work: work, '-o', folder / 'clean')
    clean = {(row['drive'], row['topic'], row['frame']): row for row in rows_of(folder / 'clean')}

    # Neighbours stay free, as a chunk may reach into the next unit.
    places = [(drive.name, number) for drive in drives for number in range(0, UNITS, 2)]
    random.Random(20).shuffle(places)
    faults, damaged, full = deal(iter(places))
    whole = {drive: (folder / 'drives' / drive).glob('*.mcap').__next__().read_bytes()
             for drive, _ in damaged}
    for drive, number in damaged:
        bag = folder / 'drives' / drive
        damage(bag, chunks_of(bag) * number // UNITS)
    (folder / 'happened').mkdir()
    faulty = FaultyWork(None, folder / 'happened', faults)  # type: ignore[arg-type]
    undo = fill_disk(full)
    code_faulty = timed(
        'with faults', lambda work: faulty.doing(work), '-o', folder / 'faulty')
    undo()
    manifest = manifest_of(folder / 'faulty')
    units = {(bag['drive'], unit['unit']): unit
             for bag in manifest['bags'] for unit in bag['units']}
    failed = {place for place, unit in units.items() if unit['state'] == 'failed'}
    lasting = {place for place, (_, times) in faults.items() if times < 0} | full
    first = rows_of(folder / 'faulty')
    before = {path: path.stat().st_mtime_ns for path in folder.glob('faulty/frames/*/*.parquet')}

    for drive, content in whole.items():
        (folder / 'drives' / drive).glob('*.mcap').__next__().write_bytes(content)
    code_resumed = timed('--resume', lambda work: work, '-o', folder / 'faulty', '--resume')
    after = {path: path.stat().st_mtime_ns for path in folder.glob('faulty/frames/*/*.parquet')}
    last = manifest_of(folder / 'faulty')['frames']
    frames = manifest['frames']
    return {
        'units': len(units),
        'faults': {**{f'{what}, {OFTEN[times]}': number for what, times, number in PLAN},
                   'chunk overwritten': DAMAGED, 'disk full': FULL},
        'times a process was killed or reading failed': faulty.happened,
        'frames': {'without faults': len(clean), 'with faults': frames, 'resumed': last},
        'units that failed': sorted(f'{drive}/{number}' for drive, number in failed),
        'errors': sorted({unit['error'].replace(f'{folder}/', '').partition(';')[0]
                          for unit in units.values() if unit['state'] == 'failed'}),
        'seconds': took,
        'checks': {
            'exit codes are 0, 1 and 0': (code_clean, code_faulty, code_resumed) == (0, 1, 0),
            'every frame is accounted for': frames['in'] == len(clean) == frames[
                'answered'] + sum(frames['skipped'].values()),
            'what goes wrong once or twice costs nothing, what does so always is listed':
                failed >= lasting and not (failed - lasting) & {
                    place for place, (_, times) in faults.items() if times > 0},
            'damaged chunks cost their units alone': len(failed - lasting) <= 2 * DAMAGED,
            'the other units are those of the run without faults': all(
                row == clean[row['drive'], row['topic'], row['frame']] for row in first),
            'no unit was done again': {path: after[path] for path in before} == before,
            'resumed, the output is that of the run without faults':
                rows_of(folder / 'faulty') == rows_of(folder / 'clean'),
        }}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--folder', type=Path, help='an empty folder for 250 MB; it stays')
    parser.add_argument('--out', type=Path, help='a file for the report')
    arguments = parser.parse_args()
    if arguments.folder is None:
        with TemporaryDirectory(prefix='faults.') as folder:
            report = check(Path(folder))
    else:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        report = check(arguments.folder)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + '\n', encoding='utf-8')
    return 0 if all(report['checks'].values()) else 1


if __name__ == '__main__':
    sys.exit(main())
