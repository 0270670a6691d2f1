"""Pictures of chosen frames out of their bags: the right ones, and those that cannot be had."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

from bags.image_bags import BagWriter
from bags.video_bags import stamp_ns, TOPICS, write_video_bag
from fleets.fleet_results import FRONT, jpeg_of, LEFT, START_NS, write_drive
import numpy as np
from pictures.video_streams import decode_by_av, encode
from PIL import Image
import pytest
from resnet_trt_node.bag.message_types import FFMPEG_PACKET
from resnet_trt_node.errors import BagError
from resnet_trt_node.fleet.results.candidates import Answer, FoundFrame
from resnet_trt_node.fleet.results.pictures import find_bag, take_pictures
import zstandard


def frame_of(bag: Path, number: int, topic: str = FRONT, **changes) -> FoundFrame:
    time_ns = START_NS + number * 500_000_000
    return replace(FoundFrame(
        .5, 'd', str(bag), topic, time_ns, time_ns + 7, number, None, Answer(('car',), (.5,)),
        None, 0.0), **changes)


def take(frames, folder=None):
    warnings: list[str] = []
    found = sorted(take_pictures(frames, folder, 2**30, warnings.append), key=lambda one: one[0])
    assert warnings == []
    return found


@pytest.fixture
def bag(tmp_path):
    return write_drive(tmp_path / 'drive', 9)


def test_raw_pictures_become_png_and_jpeg_stays_as_it_is(bag):
    found = take([frame_of(bag, 7), frame_of(bag, 2, LEFT), frame_of(bag, 2)])
    assert [(place, reason) for place, _, reason in found] == [(0, ''), (1, ''), (2, '')]
    files = [picture.file() for _, picture, _ in found]
    assert [ending for _, ending in files] == ['.png', '.jpg', '.png']
    assert files[1][0] == jpeg_of(2)
    for (content, _), value in zip((files[0], files[2]), (7, 2)):
        pixels = np.asarray(Image.open(BytesIO(content)))
        np.testing.assert_array_equal(pixels, np.full((48, 64, 3), value, np.uint8))
    np.testing.assert_array_equal(
        found[1][1].pixels(), np.asarray(Image.open(BytesIO(jpeg_of(2)))))


def test_colours_are_those_of_the_encoding(tmp_path):
    with BagWriter(tmp_path / 'bag', 'mcap') as bag:
        bag.write_image(FRONT, np.full((4, 4, 3), (255, 9, 0), np.uint8), START_NS, 'c',
                        encoding='bgr8', log_time_ns=START_NS + 7)
    (_, picture, _), = take([frame_of(tmp_path / 'bag', 0)])
    assert picture.pixels()[0, 0].tolist() == [0, 9, 255]


def test_a_bayer_mosaic_becomes_a_picture(tmp_path):
    content = BytesIO()
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(content, 'PNG')
    with BagWriter(tmp_path / 'bag', 'mcap') as bag:
        bag.write_compressed(LEFT, content.getvalue(), 'bayer_rggb8; png compressed', START_NS,
                             'c', log_time_ns=START_NS + 7)
    (_, picture, _), = take([frame_of(tmp_path / 'bag', 0, LEFT)])
    data, ending = picture.file()
    assert ending == '.png'
    assert np.asarray(Image.open(BytesIO(data))).shape == (8, 8, 3)


def test_regions_of_a_frame_share_its_picture(bag):
    found = take([frame_of(bag, 3, region_id='b'), frame_of(bag, 3, region_id='a')])
    assert [picture.pixels()[0, 0, 0] for _, picture, _ in found] == [3, 3]


def test_what_is_not_in_the_bag_costs_its_own_frame(bag, tmp_path):
    frames = [
        frame_of(bag, 1), frame_of(tmp_path / 'gone', 1), frame_of(bag, 99),
        frame_of(bag, 2, '/other'), frame_of(bag, 3, stamp_ns=START_NS), frame_of(bag, 4)]
    (tmp_path / 'broken.mcap').write_bytes(b'no bag')
    frames.append(frame_of(tmp_path / 'broken.mcap', 0))
    found = take(frames)
    assert [picture is not None for _, picture, _ in found] == [
        True, False, False, False, False, True, False]
    reasons = [reason for _, _, reason in found]
    assert reasons[1].startswith(f'there is no bag at {tmp_path / "gone"}: ')
    for place in (2, 3, 4):
        assert reasons[place] == f'it is not in {bag} any more: was the bag recorded again?'
    assert 'broken.mcap' in reasons[6]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'packed'])
def test_images_of_equal_times_are_told_apart_by_their_numbers(tmp_path, storage):
    path = tmp_path / 'bag'
    with BagWriter(path, 'mcap' if storage == 'packed' else storage) as bag:
        for value in range(6):
            # The first one has a time of its own.
            bag.write_image(FRONT, np.full((4, 4, 3), value, np.uint8), START_NS, 'c',
                            log_time_ns=START_NS + 7 + min(value, 1))
            bag.write_image('/other', np.zeros((4, 4, 3), np.uint8), START_NS, 'c',
                            log_time_ns=START_NS + 7)
    if storage == 'packed':
        file, = path.glob('*.mcap')
        path = tmp_path / 'bag.mcap.zstd'
        path.write_bytes(zstandard.compress(file.read_bytes()))
    found = take([frame_of(
        path, number, stamp_ns=START_NS, log_time_ns=START_NS + 7 + min(number, 1))
        for number in (3, 0, 5, 1, 6)])
    assert [picture and picture.pixels()[0, 0, 0] for _, picture, _ in found] == [
        3, 0, 5, 1, None]


def test_pictures_of_video_of_one_time_are_told_apart(tmp_path):
    pytest.importorskip('av', reason='decodes video')
    packets = encode('h264')
    path = tmp_path / 'bag'
    with BagWriter(path) as bag:
        for packet in packets:
            bag.write_compressed(
                FRONT, packet.data, 'h264', START_NS, 'c', log_time_ns=START_NS)
    expected = [pixels for _, pixels in decode_by_av('h264', packets)]
    found = take([frame_of(
        path, number, stamp_ns=START_NS, log_time_ns=START_NS) for number in (6, 2)])
    for (_, picture, _), number in zip(found, (6, 2)):
        np.testing.assert_array_equal(picture.pixels(), expected[number])


def test_pictures_of_video_need_those_before_them(tmp_path):
    pytest.importorskip('av', reason='decodes video')
    packets = encode('h264', b_frames=3)
    path = write_video_bag(tmp_path / 'bag', FFMPEG_PACKET, 'libx264', packets)
    expected = dict(decode_by_av('h264', packets))
    numbers = 13, 5
    found = take([frame_of(
        path, number, TOPICS[FFMPEG_PACKET], stamp_ns=stamp_ns(packets[number]),
        log_time_ns=100 * 10**9 + number * 40 * 10**6) for number in numbers])
    for (_, picture, reason), number in zip(found, numbers):
        assert reason == ''
        np.testing.assert_array_equal(picture.pixels(), expected[packets[number].pts])
        assert picture.file()[1] == '.png'


def test_bags_that_were_moved_are_found_by_the_end_of_their_path(tmp_path):
    for place in ('new/2026/a', 'new/a', 'new/b'):
        (tmp_path / place).mkdir(parents=True)
    folder = tmp_path / 'new'
    assert find_bag('/old/2026/a', folder) == folder / '2026' / 'a'
    assert find_bag('s3://bucket/2025/a', folder) == folder / 'a'
    assert find_bag(str(folder / 'b'), folder) == folder / 'b'
    for bag in ('/old/c', 's3://bucket/c', '/old/../..'):
        with pytest.raises(BagError, match=r'nor in .*--bags'):
            find_bag(bag, folder)
    assert take([frame_of('/old/nowhere', 0)], folder)[0][2].startswith('there is no bag at')


def test_a_bag_in_a_store_is_copied(bag, tmp_path, monkeypatch):
    pytest.importorskip('fsspec', reason='reads stores')
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr('tempfile.tempdir', None)
    found = take([frame_of(f'file://{bag}', 3), frame_of('file:///nowhere/bag', 3)])
    assert found[0][1].pixels()[0, 0, 0] == 3
    assert found[1][1] is None
    assert found[1][2]
