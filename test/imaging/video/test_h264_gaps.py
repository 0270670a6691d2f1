"""Lost pictures of H.264 streams are seen, so that no wrong picture is taken for a right one."""

from __future__ import annotations

import re

import numpy as np
from pictures.video_streams import decode_by_av, encode
import pytest
from resnet_trt_node.errors import FrameError, KeyFrameMissing
from resnet_trt_node.imaging.video.decoder import VideoDecoder
from resnet_trt_node.imaging.video.h264_gaps import PictureNumbers

pytest.importorskip('av', reason='encodes and decodes video')

#: B-frames and options of encoders: all that changes what the headers hold.
_STREAMS = [
    (0, {}), (3, {}), (0, {'preset': 'ultrafast', 'tune': 'zerolatency'}),
    (0, {'profile': 'baseline'}), (2, {'x264-params': 'ref=4:b-pyramid=normal:scenecut=0'}),
    (0, {'x264-params': 'cqm=jvt:scenecut=0'}), (2, {'x264-params': 'slices=4:scenecut=0'}),
    (0, {'x264-params': 'interlaced=1:scenecut=0'}), (2, {'x264-params': 'open-gop=1:scenecut=0'})]


@pytest.mark.parametrize(('b_frames', 'options'), _STREAMS)
def test_every_loss_that_spoils_a_picture_is_seen_at_the_next_packet(b_frames, options):
    packets = encode('h264', count=30, b_frames=b_frames, gop=12, options=options)
    numbers = PictureNumbers()
    assert not any(numbers.are_broken_by(one.data) for one in packets)
    whole = dict(decode_by_av('h264', packets))
    spoiling = 0
    for lost in range(1, 28):
        kept = packets[:lost] + packets[lost + 1:]
        numbers = PictureNumbers()
        seen = [place for place, one in enumerate(kept) if numbers.are_broken_by(one.data)]
        # What libavcodec makes of it without a word.
        if any(not np.array_equal(whole[pts], pixels)
               for pts, pixels in decode_by_av('h264', kept)):
            assert seen[:1] == [lost]
            spoiling += 1
    assert spoiling >= 10


@pytest.mark.parametrize(('gop', 'lost'), [
    (18, range(18, 19)), (34, range(34, 35)), (40, range(5, 20))])
def test_what_is_lost_is_seen_where_the_numbers_begin_anew(gop, lost):
    """A key frame behind which the old numbers go on, and one less than there are numbers."""
    packets = encode('h264', count=45, gop=gop, options={'x264-params': 'scenecut=0'})
    numbers = PictureNumbers()
    seen = [place for place, one in enumerate(packets)
            if place not in lost and numbers.are_broken_by(one.data)]
    assert seen[:1] == [lost.stop]


@pytest.mark.parametrize('b_frames', [0, 3])
@pytest.mark.parametrize('codec', ['h264', 'h265'])
def test_no_picture_behind_a_loss_is_wrong(codec, b_frames):
    packets = encode(codec, b_frames=b_frames)
    whole = dict(decode_by_av(codec, packets))
    for lost in range(1, 8):
        decoder, found = VideoDecoder(codec), []
        for one in packets[:lost] + packets[lost + 1:]:
            try:
                found += decoder.decode(one.data, one.pts)
            except FrameError:
                pass
        found += decoder.flush()
        assert len(found) >= 8
        for pts, pixels in found:
            np.testing.assert_array_equal(pixels, whole[pts])


@pytest.mark.parametrize(('codec', 'options'), [
    ('h264', {}), ('h264', {'x264-params': 'slices=4:scenecut=0'}),
    ('h264', {'preset': 'ultrafast', 'x264-params': 'slices=2:scenecut=0'}),
    ('h265', {})])
@pytest.mark.parametrize('share', [0.3, 0.5, 0.8])
def test_a_packet_that_is_cut_off_shows_nothing_wrong(codec, options, share):
    """Nor does it on a machine of one core, or of many; a slice of H.265 that is left out may."""
    size = (640, 480)
    packets = encode(codec, count=6, gop=6, size=size, options=options)
    whole = dict(decode_by_av(codec, packets))
    for cut in range(6):
        decoder, found, errors = VideoDecoder(codec), [], 0
        for place, one in enumerate(packets):
            end = round(share * len(one.data)) if place == cut else len(one.data)
            try:
                found += decoder.decode(one.data[:end], one.pts)
            except FrameError:
                errors += 1
        found += decoder.flush()
        assert errors == 6 - cut
        assert [pts for pts, _ in found] == [40 * number for number in range(cut)]
        for pts, pixels in found:
            np.testing.assert_array_equal(pixels, whole[pts])


@pytest.mark.parametrize(('codec', 'kinds'), [('h264', (7, 8)), ('h265', (32, 33, 34))])
def test_a_stream_whose_parameters_came_once_goes_on_behind_a_loss(codec, kinds):
    def without_parameters(data: bytes) -> bytes:
        units = re.split(b'\0\0\1', data)[1:]
        return b''.join(
            b'\0\0\1' + unit for unit in units if _kind(codec, unit) not in kinds)

    packets = encode(codec)
    whole = dict(decode_by_av(codec, packets))
    decoder, found = VideoDecoder(codec), []
    for place, one in enumerate(packets):
        data = without_parameters(one.data) if place else one.data
        if place != 3:
            try:
                found += decoder.decode(data, one.pts)
            except FrameError:
                pass
    found += decoder.flush()
    assert [pts for pts, _ in found] == [40 * number for number in (0, 1, 2, *range(8, 24))]
    for pts, pixels in found:
        np.testing.assert_array_equal(pixels, whole[pts])


def _kind(codec: str, unit: bytes) -> int:
    return unit[0] & 31 if codec == 'h264' else unit[0] >> 1 & 63


def test_a_gap_needs_a_key_frame():
    packets = encode('h264')
    decoder = VideoDecoder('h264')
    decoder.decode(packets[0].data, 0)
    with pytest.raises(KeyFrameMissing):
        decoder.decode(packets[2].data, 2)


def test_headers_that_cannot_be_read_break_nothing():
    numbers = PictureNumbers()
    packets = encode('h264', count=3)
    for end in range(60):
        assert not numbers.are_broken_by(packets[0].data[:end])
    assert not numbers.are_broken_by(b'\0\0\1\x67' + bytes(600))
    assert not numbers.are_broken_by(b'\0\0\1\x41')
