"""Results of fleet runs, as `resnet_trt fleet` writes them, and the bags that they are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO
import json
from pathlib import Path
from typing import Any, Optional

from bags.image_bags import BagWriter
import numpy as np
from PIL import Image
import pytest

pa = pytest.importorskip('pyarrow', reason='pyarrow is not installed: pip install .[fleet]')
pq = pytest.importorskip('pyarrow.parquet')
COLUMNS = pytest.importorskip('resnet_trt_node.fleet.table').COLUMNS

START_NS = 1_790_000_000_000_000_000
FRONT, LEFT = '/front/image', '/left/image/compressed'


def row(
        drive: str, frame: int, answer: Optional[dict[str, float]] = None,
        **changes: Any) -> dict[str, Any]:
    """
    Return a frame every 0.5 s.

    :param answer: class to falling score, None for a frame that was skipped.
    :param changes: other values of columns.
    """
    scores = list((answer or {}).values())
    return {
        'drive': drive, 'bag': f'/bags/{drive}', 'topic': FRONT,
        'stamp_ns': START_NS + frame * 500_000_000,
        'log_time_ns': START_NS + frame * 500_000_000 + 7, 'frame': frame, 'region_id': None,
        'outcome': 'damaged' if answer is None else 'answered', 'classes': list(answer or {}),
        'class_indices': list(range(len(scores))), 'scores': scores,
        'entropy': None if answer is None else -sum(one * np.log(one) for one in scores if one),
        'model': 'models/one.onnx', 'model_sha256': 'ab' * 32, 'software_version': '0.2.0',
        **changes}


def write_run(
        folder: Path, rows: Sequence[dict[str, Any]], unit_rows: int = 4,
        schema: str = '1') -> Path:
    """
    Write results.

    :param rows: as `row` returns them.
    :param unit_rows: rows of a file.
    :param schema: version that the files and the manifest claim.
    """
    by_drive: dict[str, list[dict[str, Any]]] = {}
    for one in rows:
        by_drive.setdefault(one['drive'], []).append(one)
    bags = [_write_drive(folder, drive, ones, unit_rows, schema)
            for drive, ones in by_drive.items()]
    outcomes = Counter(one['outcome'] for one in rows)
    (folder / 'manifest.json').write_text(json.dumps({
        'schema': schema, 'software_version': '0.2.0', 'model': 'models/one.onnx',
        'model_sha256': 'ab' * 32, 'options': {}, 'frames': _frames(outcomes), 'bags': bags}))
    return folder


def _write_drive(
        folder: Path, drive: str, rows: Sequence[dict[str, Any]], unit_rows: int,
        schema: str) -> dict[str, Any]:
    units = []
    for number, start in enumerate(range(0, len(rows), unit_rows)):
        file = f'frames/drive={drive}/unit-{number:06d}.parquet'
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.Table.from_pylist(
                rows[start:start + unit_rows],
                COLUMNS.with_metadata({'resnet_trt.schema': schema})), folder / file)
        units.append({'unit': number, 'state': 'done', 'file': file})
    return {'bag': rows[0]['bag'], 'drive': drive, 'state': 'done', 'error': None, 'warnings': [],
            'frames': _frames(Counter(one['outcome'] for one in rows)), 'units': units}


def _frames(outcomes: Counter[str]) -> dict[str, Any]:
    return {'in': outcomes.total(), 'answered': outcomes['answered'], 'regions': {},
            'skipped': {name: number for name, number in outcomes.items() if name != 'answered'}}


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Have a function change the manifest of a run in place."""
    path = folder / 'manifest.json'
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def damage(path: Path) -> None:
    """Overwrite the rows of a Parquet file, and leave its end that says what it holds."""
    content = bytearray(path.read_bytes())
    end = len(content) - 8 - int.from_bytes(content[-8:-4], 'little')
    content[4:end] = bytes(end - 4)
    path.write_bytes(content)


def jpeg_of(number: int) -> bytes:
    """Return a jpeg that differs with the number."""
    content = BytesIO()
    Image.fromarray(np.full((48, 64, 3), number, np.uint8)).save(content, 'JPEG')
    return content.getvalue()


def write_drive(path: Path, frames: int) -> Path:
    """Write a bag with raw pictures on `FRONT` and jpegs on `LEFT`, with the times of `row`."""
    with BagWriter(path, 'mcap') as bag:
        for frame in range(frames):
            times = START_NS + frame * 500_000_000, 'camera'
            bag.write_image(
                FRONT, np.full((48, 64, 3), frame, np.uint8), *times, log_time_ns=times[0] + 7)
            bag.write_compressed(LEFT, jpeg_of(frame), 'jpeg', *times, log_time_ns=times[0] + 7)
    return path
