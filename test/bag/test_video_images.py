"""Packets of video in bags: each is a picture with its own stamp, or an error of its own."""

from __future__ import annotations

import dataclasses

from bags.foxglove_bags import as_protobuf, write_messages
from bags.video_bags import COMPRESSED_VIDEO, stamp_ns, TOPICS, write_packet, write_video_bag
import numpy as np
from pictures.video_streams import decode_by_av, encode
import pytest
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, FFMPEG_PACKET
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.video_images import check_video, with_pictures
from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.errors import FrameError, KeyFrameMissing, UsageError
from resnet_trt_node.imaging.decode import decode_message, message_size

pytest.importorskip('av', reason='decodes video')

_KINDS = [(FFMPEG_PACKET, 'libx264', 'h264'), (FFMPEG_PACKET, 'hevc_nvenc', 'h265'),
          (COMPRESSED_VIDEO, 'h264', 'h264'), (COMPRESSED_VIDEO, 'h265', 'h265'),
          (COMPRESSED_VIDEO, 'av1', 'av1'), (COMPRESSED_IMAGE, 'h264', 'h264'),
          (COMPRESSED_IMAGE, 'hevc', 'h265')]


def _read(path):
    """Return (stamp, pixels) of the pictures, and (stamp, error) of the other packets."""
    pictures, errors = [], []
    with BagReader(path) as bag:
        for image in with_pictures(bag.images()):
            assert image.frame_id == 'lens'
            try:
                frame = decode_message(image.message)
            except FrameError as error:
                errors.append((image.stamp_ns, error))
                continue
            assert frame.order == 'rgb'
            assert message_size(image.message) == frame.pixels.shape[:2]
            pictures.append((image.stamp_ns, frame.pixels))
        assert not bag.warnings
    return pictures, errors


def _assert_same(found, expected):
    assert [stamp for stamp, _ in found] == [
        100 * 10**9 + pts * 10**6 for pts, _ in expected]
    for (_, pixels), (_, reference) in zip(found, expected):
        np.testing.assert_array_equal(pixels, reference)


@pytest.mark.parametrize('b_frames', [0, 3])
@pytest.mark.parametrize(('kind', 'name', 'codec'), _KINDS)
def test_every_packet_is_a_picture_with_its_own_stamp(tmp_path, kind, name, codec, b_frames):
    packets = encode(codec, b_frames=b_frames)
    pictures, errors = _read(write_video_bag(tmp_path / 'bag', kind, name, packets))
    assert not errors
    _assert_same(pictures, decode_by_av(codec, packets))


@pytest.mark.parametrize('b_frames', [0, 3])
@pytest.mark.parametrize('codec', ['h264', 'h265'])
def test_what_is_no_picture_is_an_error_of_its_packet(tmp_path, codec, b_frames):
    """The first key frame is missing, a later packet is cut off, another one is lost."""
    packets = encode(codec, count=40, b_frames=b_frames)
    keys = [place for place, one in enumerate(packets) if one.is_key]
    cut, lost = keys[2] + 1, keys[3] + 1
    sent = [dataclasses.replace(one, data=one.data[:len(one.data) // 2])
            if place == cut else one for place, one in enumerate(packets) if place != lost][1:]
    pictures, errors = _read(write_video_bag(tmp_path / 'bag', COMPRESSED_VIDEO, codec, sent))
    failed = {stamp for stamp, _ in errors}
    assert len(failed) == len(errors)
    # Each packet is one of the two.
    assert sorted([*failed, *(stamp for stamp, _ in pictures)]) == sorted(map(stamp_ns, sent))
    kinds = dict(errors)
    assert all(isinstance(kinds[stamp_ns(one)], KeyFrameMissing) for one in sent[:keys[1] - 1])
    assert type(kinds[stamp_ns(packets[cut])]) is FrameError
    # Pictures that are shown before a key frame may need one from before it. And with B-frames,
    # libavcodec loses the one that it would have shown while it fails.
    first, second, third, fourth = (packets[place].pts for place in keys[1:])
    needed = [*range(first, second - (40 if b_frames else 0), 40), third,
              *range(fourth, 1600, 40)]
    assert {100 * 10**9 + pts * 10**6 for pts in needed} <= {stamp for stamp, _ in pictures}
    if not b_frames:
        assert len(pictures) == len(needed) + 1
    whole = {100 * 10**9 + pts * 10**6: pixels for pts, pixels in decode_by_av(codec, packets)}
    for stamp, pixels in pictures:
        np.testing.assert_array_equal(pixels, whole[stamp])


def test_packets_of_foxglove_in_protobuf_are_pictures(tmp_path):
    packets = encode('h265', b_frames=2)
    pictures, errors = _read(write_messages(tmp_path / 'a.mcap', [
        ('/cam/video', 'CompressedVideo', 10**9 + number, as_protobuf(
            'CompressedVideo', stamp_ns(one), frame_id='lens', data=one.data, format='h265'))
        for number, one in enumerate(packets)], 'protobuf'))
    assert not errors
    _assert_same(pictures, decode_by_av('h265', packets))


def test_streams_of_several_cameras_do_not_mix(tmp_path):
    streams = {kind: encode(codec, 16, b_frames=number) for number, (kind, codec) in enumerate(
        [(FFMPEG_PACKET, 'h264'), (COMPRESSED_VIDEO, 'h264'), (COMPRESSED_IMAGE, 'h264')])}
    with BagWriter(tmp_path / 'bag') as bag:
        for number, packets in enumerate(zip(*streams.values())):
            for kind, packet in zip(streams, packets):
                write_packet(bag, kind, 'h264', packet, number)
    with BagReader(tmp_path / 'bag') as bag:
        found = [(one.topic, one.stamp_ns, decode_message(one.message).pixels)
                 for one in with_pictures(bag.images())]
    for kind, packets in streams.items():
        _assert_same([one[1:] for one in found if one[0] == TOPICS[kind]],
                     decode_by_av('h264', packets))


def test_a_topic_may_change_its_codec(tmp_path):
    first, second = encode('h264', 8, b_frames=2), encode('h265', 8)
    second = [dataclasses.replace(one, pts=one.pts + 400) for one in second]
    with BagWriter(tmp_path / 'bag') as bag:
        for number, packet in enumerate([*first, *second]):
            write_packet(
                bag, COMPRESSED_VIDEO, 'h264' if number < 8 else 'h265', packet, number)
    pictures, errors = _read(tmp_path / 'bag')
    assert not errors
    _assert_same(pictures, decode_by_av('h264', first) + decode_by_av('h265', second))


def test_an_unknown_codec_is_an_error_of_each_packet(tmp_path):
    path = write_video_bag(tmp_path / 'bag', FFMPEG_PACKET, 'ffv1', encode('h264', 2))
    pictures, errors = _read(path)
    assert not pictures
    assert [str(error) for _, error in errors] == [
        "'ffv1;yuv420p;bgr8;rgb8' is no video codec that can be decoded: send h264, h265, av1, "
        'vp9, vp8, mpeg4, mjpeg'] * 2


@pytest.mark.parametrize('kind', [FFMPEG_PACKET, COMPRESSED_VIDEO])
def test_without_pyav_one_line_says_what_to_install(tmp_path, monkeypatch, kind):
    path = write_video_bag(tmp_path / 'bag', kind, 'h264', encode('h264', 1))
    monkeypatch.setitem(__import__('sys').modules, 'av', None)
    with BagReader(path) as bag, pytest.raises(UsageError, match='pip install av'):
        check_video(bag, bag.image_topics())
