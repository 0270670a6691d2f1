"""
Answers and times of backends in a file, for a comparison in another Python.

The file is an npz of plain arrays without pickled objects, whose array `document` is JSON. It
comes from another machine or Python, so that it is taken for what anybody may have written: its
size is limited, and whatever is wrong with it is one error of one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
import json
from pathlib import Path
from typing import Any, Mapping, Sequence, Tuple
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.engines.files import sha256_of
from resnet_trt_node.backends.result_check import refuse_bad
from resnet_trt_node.compare.latency import MIN_ROUNDS, Timings
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import DataError, ResnetTrtError, UsageError
from resnet_trt_node.regular_file import read_regular

_FORMAT = 1
MAX_BYTES = 1 << 30
#: Of the JSON; a row is less than a KB.
_MAX_DOCUMENT_BYTES = 1 << 20


@dataclass(frozen=True)
class SavedSubject:
    """
    What a subject of another run answered, and how fast.

    :param spec: the contract of its model.
    :param info: who computed.
    :param python: version of the Python that ran it, such as '3.9.18'.
    :param answers: float32 (N, C) probabilities of the frames.
    :param timings: batch size to times.
    :param backend: what the backend was chosen by.
    :param model_sha256: digest of the model's file.
    :param origin: name of the file, date and machine of the run.
    """

    spec: ModelSpec
    info: BackendInfo
    python: str
    answers: NDArray[np.float32]
    timings: Mapping[int, Timings]
    backend: str
    model_sha256: str
    origin: Mapping[str, Any]


def check_size(frames: NDArray[np.uint8]) -> None:
    """
    Refuse more frames than a file may hold.

    :raises UsageError: before minutes are spent on answering them.
    """
    if frames.nbytes > MAX_BYTES // 2:
        raise UsageError(
            f'{len(frames)} frames are more than {MAX_BYTES >> 21} MiB, which a file of answers '
            'cannot hold: choose a smaller --limit')


def write_saved(
        path: Path, document: Mapping[str, Any], frames: NDArray[np.uint8],
        answers: Sequence[NDArray[np.float32]],
        timings: Sequence[Mapping[int, Timings]]) -> None:
    """
    Write a file, whole or not at all.

    :param document: `date`, `machine`, and `rows` as `Session.run` has them, each with its
        `model_sha256`.
    :param frames: uint8 (N, H, W, 3) RGB, which were answered.
    :param answers: float32 (N, C) of each row.
    :param timings: batch size to timings of each row.
    :raises UsageError: if the place cannot be written to.
    """
    arrays: dict[str, Any] = {'frames': frames}
    batches: list[dict[str, list[int]]] = []
    for place, (probabilities, sizes) in enumerate(zip(answers, timings)):
        arrays[f'answers_{place}'] = probabilities
        batches.append({})
        for size, measured in sizes.items():
            batches[-1][str(size)] = [measured.warm_up, measured.settle]
            arrays[f'times_{place}_{size}'] = np.array([
                (number, took_ns) for number, block in measured.rounds.items()
                for took_ns in block], np.int64)
    text = json.dumps({
        **document, 'format': _FORMAT, 'batches': batches,
        'frames': {'shape': frames.shape, 'sha256': sha256_of(frames.tobytes())}})
    arrays['document'] = np.frombuffer(text.encode(), np.uint8)
    with whole_file(path) as temporary, temporary.open('wb') as file:
        np.savez(file, **arrays)


def read_saved(
        path: Path, models: Mapping[str, ModelSpec], frames: NDArray[np.uint8],
        batch_sizes: Sequence[int]) -> list[SavedSubject]:
    """
    Read what was saved of the same models and frames.

    :param models: sha256 of each model of the comparison to its contract.
    :param frames: uint8 (N, H, W, 3) RGB of the comparison.
    :param batch_sizes: those of the comparison.
    :raises UsageError: if it is of another model, other frames or other batch sizes.
    :raises DataError: if it cannot be read, or is no such file.
    """
    with _opened(path) as (file, document):
        there = document['frames']
        if there['sha256'] != sha256_of(frames.tobytes()):
            raise UsageError(
                f'{path} was saved with other frames ({there["shape"]!s:.40} there, '
                f'{list(frames.shape)} here): compare with --images {path}, or save it again')
        origin = {'file': path.name, 'date': str(document['date']), 'machine': {
            name: str(document['machine'][name]) for name in ('cores', 'cpu')}}
        subjects = []
        for place, (row, batches) in enumerate(zip(document['rows'], document['batches'])):
            sha256 = row['model_sha256']
            if sha256 not in models:
                raise UsageError(
                    f'{path} has answers of another model (sha256 {sha256!s:.12}...): name that '
                    'one, or save it again')
            if any(str(size) not in batches for size in batch_sizes):
                raise UsageError(
                    f'{path} was measured at batch sizes {", ".join(batches)!s:.60}: choose '
                    '--batch-size among them, or save it again')
            answers = file[f'answers_{place}']
            _check(answers, np.float32, (len(frames), models[sha256].num_classes))
            refuse_bad(
                answers, len(frames), models[sha256].num_classes,
                not models[sha256].multi_label)
            info = BackendInfo(
                str(row['runtime']), str(row['version']), str(row['device']),
                {str(name): str(value) for name, value in row['details'].items()})
            timings = {
                size: _timings(file[f'times_{place}_{size}'], *batches[str(size)])
                for size in batch_sizes}
            subjects.append(SavedSubject(
                models[sha256], info, str(row['python']), answers, timings,
                str(row['backend']), sha256, origin))
    return subjects


def read_saved_frames(path: Path, spec: ModelSpec) -> NDArray[np.uint8]:
    """
    Read the frames that a file was saved with.

    :returns: uint8 (N, H, W, 3) RGB, at least one.
    :raises DataError: if it cannot be read, is no such file, or is for a model of another size.
    """
    with _opened(path) as (file, _):
        frames: NDArray[np.uint8] = file['frames']
        _check(frames, np.uint8, (max(1, len(frames)), spec.height, spec.width, 3))
    return frames


def _timings(times: Any, warm_up: Any, settle: Any) -> Timings:
    """Return timings from pairs of a round's number and nanoseconds."""
    _check(times, np.int64, (len(times), 2))
    timings = Timings(int(warm_up), int(settle))
    for number, took_ns in times.tolist():
        timings.rounds.setdefault(number, []).append(took_ns)
    if len(timings.rounds) < MIN_ROUNDS or times[:, 1].min() < 1:
        raise ValueError('its times are of fewer rounds than are measured, or not positive')
    return timings


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Give a file's arrays and its document; what is wrong with them is one error."""
    try:
        data = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror or error}') from error
    try:
        with ZipFile(BytesIO(data)) as archive:
            # A few compressed bytes may stand for any number of them.
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ValueError(f'its arrays have more than {MAX_BYTES} bytes')
        with np.load(BytesIO(data), allow_pickle=False) as file:
            text = file['document'].tobytes()
            if len(text) > _MAX_DOCUMENT_BYTES:
                raise ValueError(f'its document has {len(text)} bytes')
            document = json.loads(text)
            if document['format'] != _FORMAT:
                raise ValueError(f'it has format {document["format"]!s:.20}, not {_FORMAT}')
            yield file, document
    except ResnetTrtError:
        raise
    except Exception as error:  # noqa: B902  zip, NumPy and JSON raise many kinds
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise DataError(
            f'{path} is not written by `resnet_trt compare --save`, or damaged '
            f'({reason:.200})') from error


def _check(array: Any, dtype: Any, shape: Tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(
            f'an array of {array.dtype} {array.shape} is not {np.dtype(dtype)} {shape}')
