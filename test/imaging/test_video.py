"""Packets of a video stream to frames, against what PyAV decodes by itself."""

import numpy as np
import pytest
from resnet_trt_node.errors import FrameError, KeyFrameMissing
from resnet_trt_node.imaging.video import VideoDecoder
from video_streams import decode_by_av, encode

pytest.importorskip('av', reason='decodes video')

_STREAMS = [('h264', 0), ('h264', 3), ('h265', 0), ('h265', 3), ('mpeg4', 0), ('mpeg4', 2),
            ('mjpeg', 0), ('vp8', 0), ('vp9', 0), ('av1', 0)]


def _run(decoder, packets):
    """Return the pictures, and the pts of the packets that raised with the errors' types."""
    pictures, errors = [], []
    for packet in packets:
        try:
            pictures += decoder.decode(packet.data, packet.pts)
        except FrameError as error:
            errors.append((packet.pts, type(error)))
    return pictures + decoder.flush(), errors


def _assert_same(found, expected):
    assert [pts for pts, _ in found] == [pts for pts, _ in expected]
    for (_, pixels), (_, reference) in zip(found, expected):
        np.testing.assert_array_equal(pixels, reference)


@pytest.mark.parametrize(('codec', 'b_frames'), _STREAMS)
def test_a_whole_stream_is_decoded_as_by_av(codec, b_frames):
    packets = encode(codec, b_frames=b_frames)
    decoder = VideoDecoder(codec)
    found, errors = _run(decoder, packets)
    assert not errors
    assert not decoder.take_lost()
    assert [pts for pts, _ in found] == [40 * index for index in range(24)]
    _assert_same(found, decode_by_av(codec, packets))


@pytest.mark.parametrize(('codec', 'b_frames'), _STREAMS)
def test_packets_before_the_first_key_frame_are_told_apart(codec, b_frames):
    packets = encode(codec, b_frames=b_frames)[1:]
    key = [one.is_key for one in packets].index(True)
    found, errors = _run(VideoDecoder(codec), packets)
    assert errors == [(one.pts, KeyFrameMissing) for one in packets[:key]]
    _assert_same(found, decode_by_av(codec, packets[key:]))


def test_after_a_reset_only_a_key_frame_goes_on():
    packets = encode('h264')
    decoder = VideoDecoder('h264')
    found = [one for packet in packets[:4] for one in decoder.decode(packet.data, packet.pts)]
    decoder.reset()
    rest, errors = _run(decoder, packets[5:])
    assert errors == [(one.pts, KeyFrameMissing) for one in packets[5:8]]
    whole = decode_by_av('h264', packets)
    _assert_same(found + rest, whole[:4] + whole[8:])
