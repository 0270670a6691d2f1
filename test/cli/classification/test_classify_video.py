"""Video in `resnet_trt classify` and `quantize`: every packet is a result or a loss."""

from __future__ import annotations

import sys

from bags.detection_messages import detections_of
from bags.region_scenes import names as region_names, patch, scene
from bags.video_bags import COMPRESSED_VIDEO, stamp_ns, TOPICS, write_packet, write_video_bag
from models.tiny_model import colour_picture
import numpy as np
from pictures.video_streams import encode_pictures, write_video
import pytest
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, DETECTIONS, FFMPEG_PACKET
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.cli.support.classified_bag import answer_topic
from resnet_trt_node.cli.support.example_frames import read_frames
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.errors import UsageError

pytest.importorskip('av', reason='decodes video')

#: Ten pictures, and key frames at 0, 4 and 8.
COLOURS = ('red', 'green', 'blue', 'white', 'black', 'yellow', 'cyan', 'red', 'magenta', 'green')


def _packets(b_frames=0, codec='h264'):
    return encode_pictures(
        codec, [colour_picture(one, 96, 64) for one in COLOURS], gop=4, b_frames=b_frames)


def _named(document):
    return {one['stamp_ns']: one['predictions'][0]['label'] for one in document['results']}


@pytest.mark.parametrize(('kind', 'codec', 'b_frames'), [
    (FFMPEG_PACKET, 'h264', 0), (FFMPEG_PACKET, 'h264', 2), (COMPRESSED_VIDEO, 'h265', 0),
    (COMPRESSED_IMAGE, 'h264', 0)])
def test_packets_in_a_bag_are_classified_and_copied(
        resnet_trt, colour_model, tmp_path, kind, codec, b_frames):
    packets = _packets(b_frames, codec)
    path = write_video_bag(tmp_path / 'bag', kind, codec, packets)
    outcome = resnet_trt('classify', colour_model, path, '--json', '-o', tmp_path / 'out')
    assert outcome.code == 0
    assert [(one['stamp_ns'], one['topic'], one['predictions'][0]['label'])
            for one in outcome.document['results']] == [
        (100 * 10**9 + 40 * 10**6 * place, TOPICS[kind], one)
        for place, one in enumerate(COLOURS)]
    assert outcome.document['failures'] == []
    with BagReader(path) as before, BagReader(tmp_path / 'out') as after:
        assert [one.raw for one in after.images()] == [one.raw for one in before.images()]
        answers = {
            one.header.stamp.sec * 10**9 + one.header.stamp.nanosec: one.results[0].class_id
            for one in map(after.deserialize, after.raw_messages([answer_topic(TOPICS[kind])]))}
    assert answers == _named(outcome.document)


def test_packets_before_the_first_key_frame_and_lost_ones_are_named(
        resnet_trt, colour_model, tmp_path):
    packets = _packets()
    sent = packets[1:5] + packets[6:]
    path = write_video_bag(tmp_path / 'bag', COMPRESSED_VIDEO, 'h264', sent)
    document = resnet_trt('classify', colour_model, path, '--json').document
    assert _named(document) == {stamp_ns(packets[4]): 'black', stamp_ns(packets[8]): 'magenta',
                                stamp_ns(packets[9]): 'green'}
    assert [(one['stamp_ns'], one['error'].partition(',')[0]) for one in document['failures']] == [
        *((stamp_ns(packets[place]), 'no key frame of h264 came before this packet')
          for place in (1, 2, 3)),
        (stamp_ns(packets[6]), 'packets of h264 before this one got lost'),
        (stamp_ns(packets[7]), 'no key frame of h264 came before this packet')]
    outcome = resnet_trt('classify', colour_model, path)
    assert '3 pictures classified' in outcome.err
    assert '5 pictures could not be used and have no result' in outcome.err


def test_frames_of_a_stream_are_calibrated_on_and_gaps_are_told(colour_model, tmp_path):
    path = write_video_bag(
        tmp_path / 'bag', COMPRESSED_VIDEO, 'h264', _packets(b_frames=0)[2:])
    frames, said = read_frames(str(path), None, read_model_spec(colour_model), 99, 0)
    expected = [colour_picture(one)[0, 0] for one in COLOURS[4:]]
    assert np.abs(frames[:, 16, 16].astype(int) - expected).max() < 12
    assert said == '6 of bag; 2 left out that need a key frame before them'


@pytest.mark.parametrize('b_frames', [0, 2])
def test_regions_in_the_pictures_of_a_stream(resnet_trt, colour_model, tmp_path, b_frames):
    pictures = [scene(red=one) for one in ('red', 'green', 'blue', 'yellow')]
    with BagWriter(tmp_path / 'bag') as bag:
        for number, packet in enumerate(
                encode_pictures('h264', pictures, b_frames=b_frames)):
            write_packet(bag, FFMPEG_PACKET, 'h264', packet, number)
            bag.write('/cam/detections', DETECTIONS, detections_of(
                stamp_ns(packet), patch('red')), 100 * 10**9 + number * 40 * 10**6 + 1)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/cam/detections',
        '--json').document
    assert document['unmatched'] == document['failures'] == []
    assert [region_names(one) for one in document['results']] == [
        ['red'], ['green'], ['blue'], ['yellow']]


def test_without_pyav_one_line_says_what_to_install(
        resnet_trt, colour_model, tmp_path, monkeypatch):
    path = write_video_bag(tmp_path / 'bag', FFMPEG_PACKET, 'h264', _packets())
    monkeypatch.setitem(sys.modules, 'av', None)
    assert 'pip install av' in resnet_trt.refused('classify', colour_model, path)


@pytest.fixture
def film(tmp_path):
    """Return a video file that shows `COLOURS`."""
    return write_video(
        tmp_path / 'film.mp4', [colour_picture(one, 96, 64) for one in COLOURS], b_frames=2, gop=4)


def test_every_picture_of_a_video_has_a_row_with_its_time(resnet_trt, colour_model, film):
    outcome = resnet_trt('classify', colour_model, film, '--top-k', 1)
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()[1:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        (str(film), f'0.{40 * place:03d}000000', one) for place, one in enumerate(COLOURS)]
    assert '10 pictures classified' in outcome.err
    document = resnet_trt('classify', colour_model, film, '--json').document
    assert [(one['source'], one['time_ns'], one['predictions'][0]['label'])
            for one in document['results']] == [
        (str(film), 40 * 10**6 * place, one) for place, one in enumerate(COLOURS)]
    assert document['failures'] == document['warnings'] == []


def test_videos_stand_beside_pictures_and_are_annotated(
        resnet_trt, colour_model, film, pictures, tmp_path):
    outcome = resnet_trt(
        'classify', colour_model, film, pictures, '--annotate', tmp_path / 'out', '--json')
    assert len(outcome.document['results']) == 13
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == sorted([
        *(f'film_{40 * 10**6 * place}.jpg' for place in range(10)),
        'red_classified.jpg', 'red_classified-2.jpg', 'blue_classified.jpg'])


def test_frames_of_a_video_are_calibrated_on(colour_model, film):
    frames, said = read_frames(str(film), None, read_model_spec(colour_model), 99, 0)
    expected = [colour_picture(one)[0, 0] for one in COLOURS]
    assert np.abs(frames[:, 16, 16].astype(int) - expected).max() < 12
    assert said == '10 of film.mp4'
    assert len(read_frames(str(film), None, read_model_spec(colour_model), 3, 0)[0]) == 3


@pytest.mark.parametrize(('word', 'reason'), [
    ('rtsp://user:secret@127.0.0.1:9/stream', 'Connection refused'),
    ('none.mp4', 'there is no none.mp4'), ('empty.mkv', 'cannot read the video empty.mkv')])
def test_a_video_that_cannot_be_opened_is_one_line(
        resnet_trt, colour_model, tmp_path, monkeypatch, word, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty.mkv').write_bytes(b'')
    line = resnet_trt.refused('classify', colour_model, word)
    assert reason in line
    assert 'secret' not in line


def test_a_live_stream_is_no_input_of_quantize(colour_model):
    with pytest.raises(UsageError, match='record it into a file'):
        read_frames('rtsp://127.0.0.1:9/', None, read_model_spec(colour_model), 9, 0)


def test_a_live_stream_is_classified_until_it_ends(
        resnet_trt, colour_model, film, monkeypatch):
    """By a stand-in for the network: PyAV opens a file in place of the address."""
    import av
    opened, real = [], av.open

    def open_file(address, **options):
        opened.append((address, options['timeout']))
        return real(str(film))
    monkeypatch.setattr(av, 'open', open_file)
    document = resnet_trt(
        'classify', colour_model, 'rtsp://user:secret@camera/main', '--json').document
    assert {one['source'] for one in document['results']} == {'rtsp://***@camera/main'}
    assert [one['predictions'][0]['label'] for one in document['results']] == list(COLOURS)
    assert set(opened) == {('rtsp://user:secret@camera/main', (10.0, 10.0))}
