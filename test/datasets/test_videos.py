"""Pictures of video files, against what PyAV reads by itself; damage costs no other pictures."""

from __future__ import annotations

import sys

import numpy as np
from pictures.video_streams import read_by_av, scene, write_video
import pytest
from resnet_trt_node.datasets.videos import is_live, is_video, Video
from resnet_trt_node.errors import DataError, FrameError, KeyFrameMissing, UsageError

av = pytest.importorskip('av', reason='reads videos')


def _scenes(count=20):
    return [scene(index) for index in range(count)]


@pytest.mark.parametrize(('name', 'codec', 'b_frames'), [
    ('a.mp4', 'h264', 0), ('a.MP4', 'h264', 3), ('a.mkv', 'h265', 2), ('a.avi', 'mpeg4', 0),
    ('a.mov', 'mpeg4', 2), ('a.webm', 'vp9', 0), ('a.mkv', 'av1', 0), ('a.ts', 'h264', 2)])
def test_every_picture_is_that_of_av_at_its_time(tmp_path, name, codec, b_frames):
    path = write_video(tmp_path / name.lower(), _scenes(), codec, b_frames)
    path = path.rename(tmp_path / name)
    video = Video(str(path))
    assert video.count == 20
    found = list(video.pictures())
    expected = read_by_av(path)
    assert [one.time_ns for one in found] == [40 * 10**6 * place for place in range(20)]
    for one, (_, pixels) in zip(found, expected):
        frame = one.decode()
        assert frame.order == 'rgb'
        np.testing.assert_array_equal(frame.pixels, pixels)
    assert len(expected) == 20
    assert not video.warnings


@pytest.mark.parametrize(('rotation', 'turns'), [(90, 1), (180, 2), (-90, 3)])
def test_pictures_are_turned_as_the_file_says(tmp_path, rotation, turns):
    path = write_video(tmp_path / 'a.mp4', _scenes(2), rotation=rotation)
    for one, (_, pixels) in zip(Video(str(path)).pictures(), read_by_av(path)):
        np.testing.assert_array_equal(one.decode().pixels, np.rot90(pixels, turns))


@pytest.mark.parametrize(('codec', 'start'), [('h264', .5), ('h264', 0), ('h265', 0)])
def test_a_damaged_packet_costs_pictures_up_to_the_next_key_frame(tmp_path, codec, start):
    path = write_video(tmp_path / 'a.mkv', _scenes(24), codec)
    with av.open(str(path)) as container:
        packet = [bytes(one) for one in container.demux(video=0)][10]
    reference = read_by_av(path)
    content = path.read_bytes()
    assert content.count(packet) == 1
    kept = int(start * len(packet))
    damaged = packet[:kept] + b'\x55' * (len(packet) - kept)
    path.write_bytes(content.replace(packet, damaged))
    good, errors = {}, {}
    for one in Video(str(path)).pictures():
        try:
            good[one.time_ns] = one.decode().pixels
        except FrameError as error:
            errors[one.time_ns] = type(error)
    assert errors == {
        400 * 10**6: FrameError,
        **{40 * 10**6 * place: KeyFrameMissing for place in range(11, 16)}}
    assert len(good) == 18
    np.testing.assert_array_equal(good[9 * 40 * 10**6], reference[9][1])
    np.testing.assert_array_equal(good[16 * 40 * 10**6], reference[-8][1])


@pytest.mark.parametrize('codec', ['h264', 'h265'])
def test_pictures_that_wait_for_a_broken_packet_are_shown(tmp_path, codec):
    """The key frame is still in the decoder when the packet behind it turns out to be broken."""
    path = write_video(tmp_path / 'a.mkv', _scenes(8), codec, b_frames=3)
    with av.open(str(path)) as container:
        packets = [bytes(one) for one in container.demux(video=0)]
    reference, content = read_by_av(path), path.read_bytes()
    path.write_bytes(content.replace(packets[1], b'\x55' * len(packets[1])))
    shown = []
    for one in Video(str(path)).pictures():
        try:
            shown.append(one.decode().pixels)
        except FrameError:
            continue
    np.testing.assert_array_equal(shown, [reference[0][1]])


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path = write_video(tmp_path / 'a.mkv', _scenes(24))
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) * 2 // 3])
    found = list(Video(str(path)).pictures())
    assert 8 < len(found) < 24
    assert [one.time_ns for one in found] == [40 * 10**6 * place for place in range(len(found))]
    # The packet that was cut is damaged; all others are whole.
    for one in found[:-1]:
        one.decode()


def test_what_is_no_video_is_an_error_that_says_what_to_do(tmp_path):
    for name, content in (('a.mp4', b''), ('b.mkv', b'no video' * 99)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf'cannot read the video .*{name} .*: copy it again'):
            Video(str(tmp_path / name))
    (tmp_path / 'c.mp4').mkdir()
    with pytest.raises(DataError, match='it is a folder'):
        Video(str(tmp_path / 'c.mp4'))


def test_a_playlist_opens_nothing_else(tmp_path):
    (tmp_path / 'a.mp4').write_text(
        '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n')
    with pytest.raises(DataError, match='cannot read the video'):
        Video(str(tmp_path / 'a.mp4'))


def test_sound_alone_and_large_pictures_are_refused(tmp_path):
    path = tmp_path / 'a.mkv'
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout='mono')
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match='sound alone'):
        Video(str(path))
    path = write_video(tmp_path / 'b.mp4', _scenes(1))
    with pytest.raises(FrameError, match=r'b\.mp4: decoding 160x96 pixels .*--max-image-mib'):
        Video(str(path), max_bytes=10_000)


def test_without_pyav_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(UsageError, match='pip install av'):
        Video(str(tmp_path / 'a.mp4'))


def test_which_words_are_videos():
    assert is_video('A/b.MP4')
    assert not is_video('mp4')
    assert not is_video('a.gif')
    assert is_live('RTSP://camera/1')
    assert not is_live('rtsp')
