"""
What is fuzzed: for each reader of foreign bytes, how its input is made and what must hold.

A reader either returns something sound or raises its own error with one line; any other exception
is a finding, and so is memory out of proportion.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
import os
from pathlib import Path
import tempfile
from types import SimpleNamespace
from typing import Any, Callable

from hypothesis import strategies as st
import numpy as np
import odd_detections
import odd_images
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.datasets.listing import count_unread, describe_unread
from resnet_trt_node.datasets.pictures import decode_picture
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.errors import (
    BagError, DataError, FrameError, LabelsError, ModelError, ResnetTrtError)
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import CHANNELS, Frame
from resnet_trt_node.imaging.raw.encodings import Encoding, ENCODINGS
from resnet_trt_node.labels.file import read_labels

CORPUS = Path(__file__).resolve().parent / 'corpus'
#: Numbers at which fields and lengths go wrong.
_EDGES = (0, 1, 2, 3, 7, 8, 0x7f, 0x80, 0xff, 0xffff, 2**31 - 1, 2**31, 2**32 - 1, 2**63)


@dataclass(frozen=True)
class Target:
    """
    One reader.

    :param inputs: makes what it reads.
    :param check: has it read that; raises what must not happen.
    """

    inputs: st.SearchStrategy[Any]
    check: Callable[[Any], None]


def _one_line(error: ResnetTrtError) -> None:
    text = str(error)
    assert len(text.split('\n')) == 1, f'a message of several lines: {text!r}'
    assert text


def _sound(frame: Frame) -> None:
    """Refuse a frame that is not what `Frame` promises."""
    channels = CHANNELS[frame.order]
    shape = frame.pixels.shape
    assert frame.pixels.dtype == np.uint8
    assert min(shape) > 0
    assert shape[2:] == (() if channels == 1 else (channels,)), (shape, frame.order)
    # Touches the first and the last byte, which lie in no memory where a view is wrong.
    int(frame.pixels.reshape(-1)[0]) + int(frame.pixels[-1, -1].max())


# Bytes of a file, changed.

_EDIT = st.tuples(
    st.sampled_from(['set', 'insert', 'delete', 'repeat', 'number', 'cut']),
    st.integers(0, 2**16 - 1), st.integers(0, len(_EDGES) * 256 - 1))


def _edited(file: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    """Return a file after some changes, each a kind, a place and a value."""
    data = bytearray(file)
    for kind, place, value in edits:
        place %= len(data) + 1
        if kind == 'set':
            data[place:place + 1] = bytes([value % 256])
        elif kind == 'insert':
            data[place:place] = bytes([value % 256]) * (1 + value // 256)
        elif kind == 'delete':
            del data[place:place + 1 + value % 256]
        elif kind == 'repeat':
            data[place:place] = data[place:place + value % 256]
        elif kind == 'number':
            size = (1, 2, 4, 8)[value % 4]
            number = _EDGES[value // 256] % 256**size
            order = 'big' if value % 8 < 4 else 'little'
            data[place:place + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
        else:
            del data[place:]
    return bytes(data)


def _edited_files(pattern: str) -> st.SearchStrategy[bytes]:
    """Return a strategy for changed files of the corpus."""
    files = [path.read_bytes() for path in sorted(CORPUS.glob(pattern))]
    return st.builds(_edited, st.sampled_from(files), st.lists(_EDIT, max_size=6))


def _edited_named_files() -> st.SearchStrategy[tuple[str, bytes]]:
    """Return a strategy for changed pictures of the corpus, each with a name for its ending."""
    files = [path for path in sorted(CORPUS.iterdir()) if path.suffix not in ('.mcap', '.zip')]
    return st.sampled_from(files).flatmap(lambda path: st.tuples(
        st.just(path.name),
        st.builds(_edited, st.just(path.read_bytes()), st.lists(_EDIT, max_size=6))))


# sensor_msgs/Image.

_SIDES = st.one_of(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from(_EDGES), st.integers(-2, 2**32))


@st.composite
def _images(draw: st.DrawFn) -> SimpleNamespace:
    """Return a message, mostly with fields that nearly agree."""
    encoding = draw(st.sampled_from([*ENCODINGS, *ENCODINGS, 'RGB8', 'jpeg', '']))
    height, width = draw(_SIDES), draw(_SIDES)
    layout = ENCODINGS.get(encoding, Encoding('gray', 1))
    step = width * layout.pixel_bytes + draw(st.sampled_from([0, 0, 0, 1, 5, -1]))
    size = height * step * layout.half_lines // 2 + draw(st.sampled_from([0, 0, 0, 0, 1, -1, 64]))
    if draw(st.integers(0, 15)) == 0:
        step = draw(_SIDES)
    pattern = draw(st.binary(min_size=1, max_size=16))
    size = min(max(size, 0), 2**16)
    return SimpleNamespace(
        height=height, width=width, step=step, encoding=encoding,
        is_bigendian=draw(st.integers(0, 2)),
        data=(pattern * (size // len(pattern) + 1))[:size])


def _check_image(message: SimpleNamespace) -> None:
    try:
        frame = decode_message(message)
    except FrameError as error:
        _one_line(error)
        return
    _sound(frame)
    assert frame.pixels.shape[:2] == (message.height, message.width)
    assert frame.pixels.nbytes <= 4 * len(message.data)


#: Memory that a fuzzed picture may take, decoding included.
_MOST_BYTES = 200 * 2**20


def _check_compressed(case: tuple[bytes, Any, bool]) -> None:
    data, reduced_to, apply_orientation = case
    try:
        frame = decode_compressed(data, reduced_to, apply_orientation, _MOST_BYTES)
    except FrameError as error:
        _one_line(error)
        return
    _sound(frame)
    assert frame.pixels.nbytes <= _MOST_BYTES // 2
    assert frame.pixels.shape[:2] == tuple(-(-side // frame.reduction) for side in frame.size)


def _of_files(text: str) -> None:
    assert not any(word in text for word in ('publisher', 'message', 'transport', 'attack'))


def _check_picture_file(case: tuple[tuple[str, bytes], Any]) -> None:
    (name, data), reduced_to = case
    try:
        frame = decode_picture(data, name, reduced_to, _MOST_BYTES)
    except FrameError as error:
        _one_line(error)
        _of_files(str(error))
        return
    _sound(frame)
    assert frame.pixels.nbytes <= _MOST_BYTES


def _check_zip(data: bytes) -> None:
    file = _FILE / f'{os.getpid()}.zip'
    file.write_bytes(data)
    try:
        with PictureStore(file, 2**16) as store:
            listing = store.listing
            for line in (describe_unread(count_unread(listing)), *listing.folders):
                assert line.isprintable() or line in listing.folders
            assert not {*listing.pictures} & {*listing.unread}
            for name in store.file_names():
                try:
                    assert len(store.read(name)) <= 2**16
                    _sound(store.frame(name))
                except FrameError as error:
                    _one_line(error)
    except DataError as error:
        _one_line(error)


# Bags.

_FOLDER = tempfile.TemporaryDirectory(prefix='fuzz-')
_FILE = Path(_FOLDER.name)


def _check_bag(data: bytes) -> None:
    file = _FILE / f'{os.getpid()}.mcap'
    file.write_bytes(data)
    try:
        with BagReader(file) as bag:
            assert bag.duration_ns >= 0
            for image in bag.images():
                assert image.topic in bag.topics
                bag.wire_bytes(image)
    except BagError as error:
        _one_line(error)


# A model's metadata.

_GOOD = ModelSpec(
    4, 4, ('cat', 'dog'), ResizeRule(5, 4, 4), 'fp32', 'resnet', 'somewhere').to_metadata()
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
            ['short_side', 'crop', 'interpolation', 'x']), inner, max_size=4)), max_leaves=6)
_VALUES = st.one_of(
    st.text(max_size=12), _JSON.map(json.dumps),
    st.sampled_from(['[' * 20_000, '1e999', '"\\ud800"', 'NaN', '[1e400, 4]', '9' * 5000]),
    st.fixed_dictionaries({
        'short_side': st.one_of(st.none(), st.integers(), _JSON), 'crop': _JSON,
        'interpolation': st.sampled_from(['bilinear', 'nearest', '', 'x'])}).map(json.dumps))


def _changed_metadata(changes: dict[str, Any]) -> dict[str, str]:
    merged = {**_GOOD, **changes}
    return {name: value for name, value in merged.items() if value is not None}


_METADATA = st.dictionaries(
    st.sampled_from([*_GOOD, 'resnet_trt.more', 'other']), st.one_of(st.none(), _VALUES),
    max_size=4).map(_changed_metadata)


def _check_metadata(metadata: dict[str, str]) -> None:
    try:
        spec = ModelSpec.from_metadata(metadata)
    except ModelError as error:
        _one_line(error)
        return
    assert ModelSpec.from_metadata(spec.to_metadata()) == spec


# Class names.

_LABELS = st.one_of(
    st.binary(max_size=60), st.text(max_size=40).map(lambda text: text.encode(errors='replace')),
    st.lists(st.text(max_size=6), max_size=5).map(
        lambda names: b'\xef\xbb\xbf' + '\r\n'.join(names).encode(errors='replace')))


def _check_labels(data: bytes) -> None:
    file = _FILE / f'{os.getpid()}.txt'
    file.write_bytes(data)
    try:
        names = read_labels(file)
    except LabelsError as error:
        _one_line(error)
        return
    assert names
    assert len(set(names)) == len(names)
    assert all(name == name.strip() and name for name in names)


TARGETS = {
    'image': Target(_images(), _check_image),
    'compressed': Target(
        st.tuples(_edited_files('*.[!mz]*'), st.sampled_from([None, None, 4, 9, 256]),
                  st.booleans()), _check_compressed),
    'picture file': Target(
        st.tuples(_edited_named_files(), st.sampled_from([None, None, 9])), _check_picture_file),
    'zip': Target(_edited_files('*.zip'), _check_zip),
    'bag': Target(_edited_files('*.mcap'), _check_bag),
    'metadata': Target(_METADATA, _check_metadata),
    'labels': Target(_LABELS, _check_labels),
    'detections': Target(odd_detections.CASES, odd_detections.check),
    'damaged detections': Target(odd_detections.DAMAGES, odd_detections.check_damaged),
    'serialised image': Target(odd_images.CASES, odd_images.check),
}
