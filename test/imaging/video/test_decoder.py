"""Packets of a video stream to frames, against what PyAV decodes by itself."""

import dataclasses
import re
import sys

import numpy as np
from pictures.video_streams import decode_by_av, encode, encode_flat
import pytest
from resnet_trt_node.errors import FrameError, KeyFrameMissing, UsageError
from resnet_trt_node.imaging.video.decoder import to_rgb, VideoDecoder
from resnet_trt_node.imaging.video.packets import video_codec

av = pytest.importorskip('av', reason='decodes video')

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


def _without_picture(found, packets, lost):
    """Assert that every packet is a picture or was lost."""
    assert sorted([pts for pts, _ in found] + lost) == sorted(one.pts for one in packets)


@pytest.mark.parametrize(('codec', 'b_frames'), [('h264', 0), ('h265', 0), ('h264', 3)])
def test_lost_packets_cost_pictures_up_to_the_next_key_frame_alone(codec, b_frames):
    """No picture that depends on a lost one is returned: it would be wrong, and look right."""
    packets = encode(codec, b_frames=b_frames)
    keys = [place for place, one in enumerate(packets) if one.is_key]
    decoder = VideoDecoder(codec)
    found, errors = _run(decoder, packets[:keys[1] + 1] + packets[keys[1] + 2:])
    lost = decoder.take_lost()
    assert {kind for _, kind in errors} <= {KeyFrameMissing, FrameError}
    missing = {packets[keys[1] + 1].pts, *(pts for pts, _ in errors), *lost}
    assert missing <= {one.pts for one in packets[keys[1] + 1:keys[2]]}
    assert errors
    _assert_same(found, [
        one for one in decode_by_av(codec, packets) if one[0] not in missing])
    _without_picture(found, packets, [*missing])


@pytest.mark.parametrize('codec', ['h264', 'h265', 'mpeg4'])
def test_a_truncated_packet_is_an_error_and_the_next_key_frame_goes_on(codec):
    packets = encode(codec)
    decoder = VideoDecoder(codec)
    sent = [dataclasses.replace(one, data=one.data[:len(one.data) // 2]) if place == 10 else one
            for place, one in enumerate(packets)]
    found, errors = _run(decoder, sent)
    assert errors == [(400, FrameError)] + [(40 * place, KeyFrameMissing)
                                            for place in range(11, 16)]
    whole = decode_by_av(codec, packets)
    _assert_same(found, whole[:10] + whole[16:])
    assert not decoder.take_lost()


@pytest.mark.parametrize('codec', ['h264', 'h265'])
def test_parameters_may_come_just_once_and_in_a_packet_of_their_own(codec):
    packets = encode(codec)
    parts = re.split(b'(?=\x00\x00\x00\x01|(?<!\x00)\x00\x00\x01)', packets[0].data)
    kinds = [part.lstrip(b'\x00')[1:2] for part in parts]
    is_parameter = [(kind[:1] and (kind[0] & 31 in (7, 8) if codec == 'h264' else
                                   kind[0] >> 1 & 63 in (32, 33, 34))) for kind in kinds]
    parameters = b''.join(part for part, is_one in zip(parts, is_parameter) if is_one)
    assert 10 < len(parameters) < 200
    decoder = VideoDecoder(codec)
    with pytest.raises(FrameError, match='holds parameters and no picture'):
        decoder.decode(parameters, -1)
    bare = [dataclasses.replace(one, data=one.data.replace(parameters, b'')) for one in packets]
    assert len(bare[0].data) < len(packets[0].data)
    found, errors = _run(decoder, bare[:12])
    again, more = _run(decoder, bare[16:])
    assert errors + more == []
    whole = decode_by_av(codec, packets)
    _assert_same(found + again, whole[:12] + whole[16:])


def test_colours_follow_the_matrix_and_the_range_of_the_stream():
    """Against the equations of BT.601 and BT.709, for one colour; 3 levels are rounding."""
    luma, blue, red = 120.0, 90.0, 200.0
    for matrix, full, (kr, kb) in (
            (1, False, (.2126, .0722)), (1, True, (.2126, .0722)),
            (6, False, (.299, .114)), (2, False, (.299, .114))):
        packets = encode_flat((luma, blue, red), matrix, full)
        (_, pixels), = _run(VideoDecoder('h264'), packets)[0]
        y = luma / 255 if full else (luma - 16) / 219
        b, r = ((one - 128) / (255 if full else 224) for one in (blue, red))
        rgb = [y + 2 * (1 - kr) * r,
               y - 2 * ((1 - kb) * kb * b + (1 - kr) * kr * r) / (1 - kr - kb),
               y + 2 * (1 - kb) * b]
        np.testing.assert_allclose(
            pixels[20, 30], np.clip(np.multiply(rgb, 255), 0, 255), atol=3)


@pytest.mark.parametrize(('data', 'line'), [
    (b'', 'empty video packet'), (b'\x00\x00\x01', 'no picture'),
    (b'\xff\xd8\xff\xe0 a jpeg', 'has no start code'), ([1, 2], 'data is list')])
def test_what_is_no_packet_is_an_error_that_says_so(data, line):
    with pytest.raises(FrameError, match=line):
        VideoDecoder('h264').decode(data, 0)


def test_pictures_that_are_too_large_are_refused():
    packet = encode('h264', 1)[0]
    with pytest.raises(FrameError, match='broken h264 packet'):
        VideoDecoder('h264', max_bytes=160 * 96).decode(packet.data, 0)


def test_without_pyav_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(UsageError, match='pip install av'):
        VideoDecoder('h264')


@pytest.mark.parametrize(('text', 'codec'), [
    ('h264', 'h264'), ('H.264', 'h264'), ('libx264', 'h264'), ('h264;yuv420p;bgr8;rgb8', 'h264'),
    ('hevc_nvenc', 'h265'), ('h265', 'h265'), ('av1', 'av1'), ('jpeg', ''), ('', ''),
    ('rgb8; jpeg compressed bgr8', ''), ('png', '')])
def test_names_of_codecs_in_messages(text, codec):
    assert video_codec(text) == codec


def test_a_faulty_remark_of_the_encoder_does_no_harm():
    packets = encode('h264', 4)
    faulty = b'\x00\x00\x01\x06\x05\xff\xff\x10broken\x80'
    found, errors = _run(VideoDecoder('h264'), [
        dataclasses.replace(one, data=faulty + one.data) for one in packets])
    assert not errors
    _assert_same(found, decode_by_av('h264', packets))


def test_colours_that_libswscale_does_not_know_are_an_error_of_the_picture():
    frame = av.VideoFrame(16, 16, 'yuv420p')
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.colorspace = 8  # YCgCo
    with pytest.raises(FrameError, match='its colours cannot be converted'):
        to_rgb(frame)
