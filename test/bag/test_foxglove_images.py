"""Images of Foxglove in bags are read as those of sensor_msgs, with the pixels that were sent."""

from __future__ import annotations

import io
from pathlib import Path
import sys
from typing import Any

from bags.foxglove_bags import as_cdr, as_protobuf, schema_of, write_messages
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.errors import BagError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import to_rgb

RNG = np.random.default_rng(9)
START_NS = 1_700_000_000_000_000_007
SERIALISATIONS = ('protobuf', 'cdr')
#: RGB, of a size that is in no relation to a power of two.
PICTURES = [RNG.integers(0, 256, (6, 10, 3)).astype(np.uint8) for _ in range(3)]


def png_of(pixels: Any) -> bytes:
    """Return the content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return file.getvalue()


def serialised(serialisation: str, kind: str, stamp_ns: int, data: bytes, **fields: Any) -> bytes:
    """Return a message."""
    if serialisation == 'protobuf':
        return as_protobuf(kind, stamp_ns, data=data, frame_id='camera', **fields)
    return as_cdr(
        kind, stamp_ns, data=np.frombuffer(data, np.uint8), frame_id='camera', **fields)


def write_pictures(path: Path, serialisation: str) -> Path:
    """Write each picture raw, in BGR with padded rows, and 5 ns later as PNG."""
    rows = []
    for place, pixels in enumerate(PICTURES):
        padded = np.pad(pixels[..., ::-1].reshape(6, 30), ((0, 0), (0, 3)))
        time = 100 * place
        rows += [
            ('/raw', 'RawImage', time, serialised(
                serialisation, 'RawImage', START_NS + place, padded.tobytes(), width=10,
                height=6, step=33, encoding='bgr8')),
            ('/packed', 'CompressedImage', time + 5, serialised(
                serialisation, 'CompressedImage', START_NS + place, png_of(pixels),
                format='png'))]
    return write_messages(path, rows, serialisation)


def rgb_of(message: Any) -> Any:
    """Return a message's picture."""
    frame = decode_message(message)
    return to_rgb(frame.pixels, frame.order)


@pytest.mark.parametrize('serialisation', SERIALISATIONS)
def test_the_pictures_that_were_written_are_read(tmp_path: Path, serialisation: str) -> None:
    path = write_pictures(tmp_path / 'a.mcap', serialisation)
    said: list[str] = []
    with BagReader(path, said.append) as bag:
        assert bag.image_topics() == ['/packed', '/raw']
        assert bag.image_types('/raw') == [IMAGE]
        assert bag.image_types('/packed') == [COMPRESSED_IMAGE]
        assert bag.topics['/raw'].msgtype.endswith('RawImage')
        found = list(bag.images())
        assert bag.image_count() == len(found) == 6
    assert said == []
    for place, one in enumerate(found):
        assert one.topic == ('/raw', '/packed')[place % 2]
        assert one.msgtype == (IMAGE, COMPRESSED_IMAGE)[place % 2]
        assert one.log_time_ns == 100 * (place // 2) + 5 * (place % 2)
        assert (one.stamp_ns, one.frame_id) == (START_NS + place // 2, 'camera')
        assert (one.header.stamp.sec, one.header.stamp.nanosec) == (
            1_700_000_000, 7 + place // 2)
        np.testing.assert_array_equal(rgb_of(one.message), PICTURES[place // 2])


@pytest.mark.parametrize('serialisation', SERIALISATIONS)
def test_they_are_copied_and_published_as_those_of_sensor_msgs(
        tmp_path: Path, serialisation: str) -> None:
    path = write_pictures(tmp_path / 'a.mcap', serialisation)
    with BagReader(path) as bag, BagWriter(tmp_path / 'copy') as writer:
        for one in bag.images():
            assert bag.wire_bytes(one) is one.raw
            writer.copy(one)
    with BagReader(tmp_path / 'copy') as copy:
        assert {name: info.msgtype for name, info in copy.topics.items()} == {
            '/packed': COMPRESSED_IMAGE, '/raw': IMAGE}
        images = list(copy.images(['/raw']))
    assert [one.stamp_ns for one in images] == [START_NS + place for place in range(3)]
    for one, pixels in zip(images, PICTURES):
        np.testing.assert_array_equal(rgb_of(one.message), pixels)


def test_values_of_16_bits_are_little_endian(tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (4, 5)).astype(np.uint8)
    rows = [('/raw', 'RawImage', 1, as_protobuf(
        'RawImage', START_NS, data=(values.astype('<u2') * 257).tobytes(), width=5, height=4,
        step=10, encoding='mono16'))]
    with BagReader(write_messages(tmp_path / 'a.mcap', rows, 'protobuf')) as bag:
        found, = bag.images()
        np.testing.assert_array_equal(decode_message(found.message).pixels, values)


def test_big_endian_cdr(tmp_path: Path) -> None:
    rows = [('/raw', 'RawImage', 1, as_cdr(
        'RawImage', START_NS, little_endian=False, data=PICTURES[0].reshape(-1), width=10,
        height=6, step=30, encoding='rgb8', frame_id='camera'))]
    with BagReader(write_messages(tmp_path / 'a.mcap', rows, 'cdr')) as bag:
        found, = bag.images()
        assert bag.wire_bytes(found)[1] == 1
    np.testing.assert_array_equal(rgb_of(found.message), PICTURES[0])


@pytest.mark.parametrize('serialisation', SERIALISATIONS)
def test_a_damaged_message_costs_no_other(tmp_path: Path, serialisation: str) -> None:
    good = serialised(
        serialisation, 'CompressedImage', START_NS, png_of(PICTURES[0]), format='png')
    rows = [('/i', 'CompressedImage', time, data) for time, data in enumerate(
        (good, good[:len(good) // 2], b'\xff' * 30, good))]
    said: list[str] = []
    with BagReader(write_messages(tmp_path / 'a.mcap', rows, serialisation), said.append) as bag:
        assert [one.log_time_ns for one in bag.images()] == [0, 3]
    line, = said
    assert '/i: 2 of 4 images are not readable' in line


@pytest.mark.parametrize(('schema', 'words'), [
    (b'no schema', 'not a readable foxglove.RawImage'),
    (schema_of('CompressedImage').SerializeToString(), 'foxglove.RawImage'),
    (schema_of('RawImage', ('data',)).SerializeToString(), 'data')])
def test_a_schema_of_something_else_is_refused(
        tmp_path: Path, schema: bytes, words: str) -> None:
    rows = [('/i', 'RawImage', 1, as_protobuf('RawImage', START_NS, data=b'123'))]
    path = write_messages(tmp_path / 'a.mcap', rows, 'protobuf', schema)
    with BagReader(path) as bag, pytest.raises(BagError, match=words) as caught:
        list(bag.images())
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('seconds', [2**31, -2**31 - 1])
def test_a_time_that_ros_has_not_is_refused(tmp_path: Path, seconds: int) -> None:
    rows = [('/i', 'RawImage', 1, as_protobuf('RawImage', seconds * 10**9, data=b'123'))]
    path = write_messages(tmp_path / 'a.mcap', rows, 'protobuf')
    with BagReader(path) as bag, pytest.raises(BagError, match='not a readable foxglove'):
        list(bag.images())


def test_without_protobuf_the_remedy_is_named(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pictures(tmp_path / 'a.mcap', 'protobuf')
    monkeypatch.setitem(sys.modules, 'google.protobuf.message_factory', None)
    with BagReader(path) as bag, pytest.raises(BagError, match="pip install 'protobuf") as one:
        list(bag.images())
    assert '\n' not in str(one.value)
    path = write_pictures(tmp_path / 'b.mcap', 'cdr')
    with BagReader(path) as bag:
        assert len(list(bag.images())) == 6
