"""Packets of one camera's video: each comes out as its own picture, or is dropped for a reason."""

from __future__ import annotations

import re
from time import sleep
from types import SimpleNamespace
from typing import Any, Callable, Iterator

import numpy as np
from pictures.shade_video import number_of, shade_packets
from pipelines.video_sink import Sink
import pytest
from resnet_trt_node.errors import UsageError
from resnet_trt_node.imaging.limits import MAX_IMAGE_BYTES
from resnet_trt_node.imaging.video import decoder as video
from resnet_trt_node.node.pipeline import video_stage
from resnet_trt_node.node.pipeline.video_stage import MOST_WAITING, VideoHooks, VideoStage

pytest.importorskip('av', reason='PyAV encodes and decodes video')

#: A unit that says that a picture of any kind follows.
DELIMITER = b'\0\0\0\1\x09\xf0'


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def same(numbers: Any) -> list[tuple[int, int]]:
    """Return numbers as packets whose pictures are their own."""
    return [(number, number) for number in numbers]


@pytest.mark.parametrize('codec', ['h264', 'h265'])
def test_each_packet_becomes_its_own_picture(sink: Sink, codec: str) -> None:
    assert sink.stage.codec == ''
    for number, data in enumerate(shade_packets(codec, 20)):
        sink.take(number, data, codec)
    sink.wait_for(20)
    assert sink.pictures == same(range(20))
    assert not sink.dropped
    assert sink.stage.codec == codec


def test_pictures_in_another_order_keep_the_headers_of_their_packets(sink: Sink) -> None:
    packets = shade_packets('h264', 20, gop=20, b_frames=2)
    for number, data in enumerate(packets):
        sink.take(number, data)
    # Closing offers those that the decoder holds.
    sink.finish()
    assert not sink.dropped
    assert [shown for _, shown in sink.pictures] == list(range(20))
    # As PyAV says which packet is whose.
    import av
    decoder: Any = av.CodecContext.create('h264', 'r')
    expected = []
    for number, data in [*enumerate(packets), (-1, b'')]:
        packet = None
        if data:
            packet = av.Packet(data)
            packet.pts = number
        expected += [one.pts for one in decoder.decode(packet)]
    assert [header for header, _ in sink.pictures] == expected
    assert expected != sorted(expected)


@pytest.mark.parametrize('codec', ['h264', 'h265'])
@pytest.mark.parametrize('lost', [(0,), (3,), (3, 4, 5), (7, 9)])
def test_a_lost_packet_costs_all_until_the_next_key_frame(
        sink: Sink, codec: str, lost: tuple[int, ...]) -> None:
    for number, data in enumerate(shade_packets(codec, 24)):
        if number not in lost:
            sink.take(number, data, codec)
    sink.finish()
    spoilt = [number for number in range(24) if number not in lost and any(
        number > one and number // 8 == one // 8 for one in lost)]
    assert sorted(sink.pictures) == same(
        number for number in range(24) if number not in (*lost, *spoilt))
    assert sorted(number for number, _ in sink.dropped) == spoilt
    # The decoder of H.265 calls the first one broken.
    broken = sink.numbers('malformed')
    assert len(broken) <= (0 if codec == 'h264' else len(lost))
    assert len(sink.numbers('no_key_frame')) == len(spoilt) - len(broken)


def test_a_broken_packet_is_malformed_and_its_followers_wait_for_a_key_frame(sink: Sink) -> None:
    packets = shade_packets('h264', 16)
    packets[2] = b'no video at all'
    packets[5] = b''
    for number, data in enumerate(packets):
        sink.take(number, data)
    sink.wait_for(16)
    assert sink.pictures == same((0, 1, *range(8, 16)))
    assert sink.numbers('malformed') == [2, 5]
    assert sink.numbers('no_key_frame') == [3, 4, 6, 7]
    assert 'has no start code' in sink.lines[0]
    assert 'empty video packet' in sink.lines[3]


def test_parameters_alone_are_no_frame(sink: Sink) -> None:
    packets = shade_packets('h264', 4)
    place = packets[0].rindex(b'\0\0\1\x65')
    for number, data in enumerate(
            [packets[0][:place], DELIMITER, packets[0][place:], *packets[1:]], -2):
        sink.take(number, data)
    sink.wait_for(4)
    assert sink.pictures == same(range(4))
    assert not sink.dropped


@pytest.mark.parametrize('codec', ['h264', 'h265'])
@pytest.mark.parametrize('b_frames', [0, 2])
def test_whatever_happens_to_a_stream_each_packet_has_one_end(
        sink: Sink, codec: str, b_frames: int) -> None:
    chance = np.random.default_rng(b_frames)
    packets = shade_packets(codec, 300, b_frames=b_frames)
    sent = 0
    for number, data in enumerate(packets):
        fate = chance.integers(10)
        if fate == 0:
            continue
        if fate == 1:
            bytes_ = np.frombuffer(data, np.uint8).copy()
            bytes_[chance.integers(5, len(bytes_), 3)] ^= 0x55
            data = bytes_.tobytes()
        elif fate == 2:
            data = data[:chance.integers(6, len(data))]
        sink.take(number, data, codec)
        sent += 1
        # Not faster than they are decoded, or some are skipped.
        while len(sink.stage._waiting) > MOST_WAITING // 2:
            sleep(0.001)
    sink.finish()
    ends = [number for number, _ in (*sink.pictures, *sink.dropped)]
    assert len(ends) == len(set(ends))
    # A packet that was cut off before its picture is one of parameters.
    assert sent - 30 <= len(ends) <= sent
    assert len(sink.pictures) > 20
    assert {reason for _, reason in sink.dropped} <= {'malformed', 'no_key_frame'}


def test_another_codec_begins_another_stream(sink: Sink) -> None:
    for number, data in enumerate(shade_packets('h264', 4)):
        sink.take(number, data)
    for number, data in enumerate(shade_packets('h265', 4)):
        sink.take(number, data, 'h265')
    sink.wait_for(8)
    assert sink.pictures == same([*range(4), *range(4)])
    assert sink.stage.codec == 'h265'


def held(sink: Sink, first: bytes) -> None:
    """Have the stage stand still behind the first picture."""
    sink.reached.clear()
    sink.gate.clear()
    sink.take(0, first)
    assert sink.reached.wait(120)


def test_packets_that_come_too_fast_are_skipped_up_to_a_key_frame(sink: Sink) -> None:
    packets = shade_packets('h264', 48, gop=24)
    held(sink, packets[0])
    # One more than may wait.
    for number in range(1, MOST_WAITING + 2):
        sink.take(number, packets[number])
    assert sink.numbers('superseded') == list(range(1, 24))
    for number in range(MOST_WAITING + 2, 48):
        sink.take(number, packets[number])
    sink.gate.set()
    sink.wait_for(48)
    assert [header for header, _ in sink.pictures] == [0, *range(24, 48)]
    assert all(shown == header % 25 for header, shown in sink.pictures)
    assert len(sink.dropped) == 23


def test_parameters_right_before_the_key_frame_are_kept_with_it(sink: Sink) -> None:
    small, large = (shade_packets('h264', 40, gop=40, size=size) for size in ((64, 48), (128, 96)))
    picture = re.search(b'\0\0\1[\x65\x25\x45]', large[0])
    assert picture is not None
    held(sink, small[0])
    for number in range(1, MOST_WAITING):
        sink.take(number, small[number])
    # Those of a larger picture, in a packet of their own.
    sink.take(100, large[0][:picture.start()])
    sink.take(101, b'\0' + large[0][picture.start():])
    sink.gate.set()
    sink.wait_for(MOST_WAITING + 1)
    assert sink.numbers('superseded') == list(range(1, MOST_WAITING))
    assert sink.pictures == [(0, 0), (101, 0)]
    assert sink.shapes[1] == (96, 128, 3)
    # Parameters that are refused are no frame either.
    held(sink, large[0])
    sink.take(102, large[0][:picture.start()])
    sink.close()
    assert not sink.numbers('refused')


def test_losses_that_dds_reports_have_a_key_frame_go_on(sink: Sink) -> None:
    packets = shade_packets('h264', 24, gop=8)
    for number in range(4):
        sink.take(number, packets[number])
    sink.wait_for(4)
    sink.stage.note_gap()
    for number in range(4, 24):
        sink.take(number, packets[number])
    sink.wait_for(24)
    assert sink.numbers('no_key_frame') == list(range(4, 8))
    assert [header for header, _ in sink.pictures] == [*range(4), *range(8, 24)]


def test_without_a_key_frame_all_but_the_newest_packet_are_skipped(sink: Sink) -> None:
    packets = shade_packets('h264', 42, gop=40)
    held(sink, packets[0])
    for number in range(1, 42):
        sink.take(number, packets[number])
    sink.gate.set()
    sink.wait_for(42)
    newest = MOST_WAITING + 1
    assert sink.numbers('superseded') == list(range(1, newest))
    assert sink.numbers('no_key_frame') == list(range(newest, 40))
    assert [header for header, _ in sink.pictures] == [0, 40, 41]


def test_closing_refuses_what_waits_and_what_still_comes(sink: Sink) -> None:
    packets = shade_packets('h264', 4)
    held(sink, packets[0])
    sink.take(1, packets[1])
    sink.take(2, packets[2])
    sink.stage.close()
    assert sink.numbers('refused') == [1, 2]
    sink.take(3, packets[3])
    assert sink.numbers('refused') == [1, 2, 3]
    sink.gate.set()
    assert sink.pictures == same([0])


def test_a_picture_that_is_too_large_is_malformed(sink: Sink) -> None:
    sink.max_bytes = 64 * 48
    for number, data in enumerate(shade_packets('h264', 2)):
        sink.take(number, data)
    sink.wait_for(2)
    assert not sink.pictures
    assert sink.numbers('malformed')[:1] == [0]


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        raise error
    return fail


@pytest.mark.parametrize('error', [
    UsageError('video is decoded by PyAV: pip install av'), ZeroDivisionError('nobody foresaw')])
def test_whatever_goes_wrong_costs_one_packet(
        sink: Sink, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = shade_packets('h264', 2)
    decoder = video_stage.VideoDecoder
    monkeypatch.setattr(video_stage, 'VideoDecoder', failing(error))
    sink.take(7, packets[0])
    sink.wait_for(1)
    assert sink.dropped == [(7, 'malformed')]
    assert str(error) in sink.lines[0]
    monkeypatch.setattr(video_stage, 'VideoDecoder', decoder)
    for number, data in enumerate(packets):
        sink.take(number, data)
    sink.wait_for(3)
    assert sink.pictures == same(range(2))


def test_an_error_that_nobody_foresaw_behind_the_decoder_costs_one_packet(
        sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = shade_packets('h264', 8, gop=4)
    sink.take(0, packets[0])
    sink.wait_for(1)
    with monkeypatch.context() as patch:
        patch.setattr(video, 'to_rgb', failing(ZeroDivisionError('nobody foresaw')))
        sink.take(1, packets[1])
        sink.wait_for(2)
    for number in range(2, 8):
        sink.take(number, packets[number])
    sink.wait_for(8)
    assert (1, 'malformed') in sink.dropped
    assert [header for header, _ in sink.pictures][-4:] == [4, 5, 6, 7]


def test_superseded_pictures_do_not_break_the_stream(make_bench: Callable[..., Any]) -> None:
    """Packets are decoded though their frames are not inferred: of those the newest one wins."""
    bench = make_bench()

    def offer(message: Any, waited_ns: int) -> None:
        bench.pipeline.offer('front', number_of(float(np.mean(message.frame.pixels))), waited_ns)

    stage = VideoStage(VideoHooks(
        offer, lambda message, *rest: bench.pipeline.drop('front', message, *rest),
        lambda: MAX_IMAGE_BYTES), 1)
    bench.hold(200)
    for number, data in enumerate(shade_packets('h264', 25, gop=25)):
        stage.take(SimpleNamespace(header=number, data=data), 'h264')
    total = bench.pipeline.counters.total
    bench.wait(lambda: total().received == 26)
    assert not bench.bad_frames
    bench.release()
    bench.finish()
    stage.close()
    assert not stage._waiting
    numbers = [message for _, message, _ in bench.results]
    assert numbers[0] == 200
    assert numbers[-1] == 24
    assert total().answered + bench.dropped['superseded'] == 26
    assert set(bench.dropped) == {'superseded'}
