"""Video packets over real DDS: what is answered and what is counted where some are missing."""

from __future__ import annotations

from array import array
from typing import Any

from nodes.node_process import compressed, Peer
from nodes.node_services import lifecycle
from nodes.simulated_node import ACTIVATE, check_sums, DEACTIVATE, run, wait_for_status
from pictures.shade_video import number_of, shade_packets, SHADES
import pytest
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2D, Detection2DArray

pytest.importorskip('av', reason='PyAV encodes and decodes video')
packets_msgs = pytest.importorskip(
    'ffmpeg_image_transport_msgs.msg', reason='ffmpeg_image_transport_msgs is not installed')
foxglove_msgs = pytest.importorskip('foxglove_msgs.msg', reason='foxglove_msgs is not installed')

pytestmark = pytest.mark.slow

FFMPEG = ('-p', 'image_transport:=ffmpeg')
COMPRESSED = ('-p', 'image_transport:=compressed')


def ffmpeg_packet(data: bytes, number: int, encoding: str = 'h264;yuv420p;bgr8;bgr8') -> Any:
    """Return an FFMPEGPacket with `number` as its stamp's nanoseconds."""
    message = packets_msgs.FFMPEGPacket(
        header=compressed(b'', number).header, encoding=encoding, pts=number)
    message.data = array('B', data)
    return message


def foxglove_packet(data: bytes, number: int, codec: str) -> Any:
    """Return a CompressedVideo with `number` as its stamp's nanoseconds."""
    header = compressed(b'', number).header
    message = foxglove_msgs.CompressedVideo(
        timestamp=header.stamp, frame_id=header.frame_id, format=codec)
    message.data = array('B', data)
    return message


#: Transport to the type of its messages, and what makes one of data, number and codec.
TRANSPORTS: dict[str, tuple[Any, Any]] = {
    'ffmpeg': (packets_msgs.FFMPEGPacket, ffmpeg_packet),
    'foxglove': (foxglove_msgs.CompressedVideo, foxglove_packet),
    'compressed': (
        CompressedImage, lambda data, number, codec: compressed(data, number, kind=codec))}


def shown(peer: Peer, topic: str = 'classification') -> list[tuple[int, int]]:
    """Return stamp and picture of each answer: the number that is in its shade."""
    return [
        (answer.header.stamp.nanosec,
         number_of(float(answer.results[0].class_id.removeprefix('red_'))))
        for answer in peer.heard[topic]]


def own(numbers: Any) -> list[tuple[int, int]]:
    """Return the answers to packets that each get the one of their own picture."""
    return [(number, number % SHADES) for number in numbers]


@pytest.mark.parametrize('codec', ['h264', 'h265'])
@pytest.mark.parametrize('transport', TRANSPORTS)
def test_lost_and_broken_packets_are_counted_and_the_next_key_frame_goes_on(
        peer: Peer, codec: str, transport: str) -> None:
    peer.listen_to_results()
    packets = shade_packets(codec, 40)
    topic, (kind, message_of) = f'image/{transport}', TRANSPORTS[transport]
    # The stream has begun before the node listens; two are lost, one is broken.
    missing, broken = (0, 11, 28), 21
    packets[broken] = b'no video'
    with run('-p', f'image_transport:={transport}') as node:
        peer.connect(topic, kind)
        for number, data in enumerate(packets):
            if number not in missing:
                peer.publish(topic, message_of(data, number, codec))
        wait_for_status(peer, 'received', str(40 - len(missing)))
        wait_for_status(peer, 'in_progress', '0')
        status = peer.status()
        assert status is not None
        check_sums(status)
        good = [*range(8, 11), *range(16, 21), *range(24, 28), *range(32, 40)]
        assert status['answered'] == str(len(good))
        spoilt = 40 - len(missing) - len(good)
        assert int(status['dropped_malformed']) + int(
            status['dropped_no_key_frame']) == spoilt
        # The decoder of H.265 calls the first packet behind a lost one broken.
        assert int(status['dropped_malformed']) in ((1,) if codec == 'h264' else (1, 2, 3))
        assert status['video_codec'] == codec
        peer.spin_until(lambda: len(peer.heard['classification']) == len(good), 'every answer')
        assert shown(peer) == own(good)
        assert {one.header.frame_id for one in peer.heard['classification']} == {'camera'}
        assert node.stop() == 0
    assert f'{40 - len(missing)} frames received, {len(good)} answered' in node.log
    assert 'no key frame of' in node.log or 'has no start code' in node.log
    assert 'Traceback' not in node.log


def test_packets_of_frames_that_are_not_wanted_are_decoded(peer: Peer) -> None:
    """With one frame waiting at most the newest wins; the stream goes on without a key frame."""
    peer.listen_to_results()
    with run(*FFMPEG, '-p', 'queue_depth:=1', '-p', 'backend:=simulated:30.0') as node:
        peer.connect('image/ffmpeg', packets_msgs.FFMPEGPacket)
        packets = shade_packets('h264', 25, gop=25)
        for number, data in enumerate(packets):
            peer.publish('image/ffmpeg', ffmpeg_packet(data, number))
        wait_for_status(peer, 'received', '25')
        wait_for_status(peer, 'in_progress', '0')
        status = peer.status()
        assert status is not None
        assert int(status['answered']) + int(status['dropped_superseded']) == 25
        peer.spin_until(
            lambda: len(peer.heard['classification']) == int(status['answered']), 'the answers')
        answers = shown(peer)
        assert answers == own(number for number, _ in answers)
        assert answers[-1] == (24, 24)
        assert node.stop() == 0


@pytest.mark.usefixtures('receive')
def test_pictures_and_video_of_several_cameras_side_by_side(peer: Peer) -> None:
    import cv2
    import numpy as np
    for camera in ('front', 'left'):
        peer.listen_to_results(f'{camera}/')
    picture = cv2.imencode('.png', np.full((48, 64, 3), 70, np.uint8))[1].tobytes()
    with run(*COMPRESSED, '-p', 'cameras:=[front, left]') as node:
        for camera in ('front', 'left'):
            peer.connect(f'{camera}/image/compressed', CompressedImage, f'{camera}/')
        for number, data in enumerate(shade_packets('h264', 10)):
            peer.publish('front/image/compressed', compressed(data, number, kind='h264'))
            peer.publish('left/image/compressed', compressed(picture, number, kind='png'))
        peer.spin_until(lambda: all(len(
            peer.heard[f'{camera}/classification']) == 10 for camera in ('front', 'left')),
            'ten answers each')
        assert shown(peer, 'front/classification') == own(range(10))
        assert shown(peer, 'left/classification') == [(number, 7) for number in range(10)]
        wait_for_status(peer, 'front/video_codec', 'h264')
        assert 'left/video_codec' not in (peer.status() or {})
        assert node.stop() == 0


def test_an_activated_node_waits_for_a_key_frame_again(peer: Peer) -> None:
    peer.listen_to_results()
    packets = shade_packets('h264', 24)
    with run(*FFMPEG) as node:
        peer.connect('image/ffmpeg', packets_msgs.FFMPEGPacket)
        for number in range(4):
            peer.publish('image/ffmpeg', ffmpeg_packet(packets[number], number))
        wait_for_status(peer, 'answered', '4')
        publisher = peer._publishers['image/ffmpeg']
        assert lifecycle(peer, DEACTIVATE), node.log
        peer.spin_until(
            lambda: not publisher.get_subscription_count(), 'the end of the subscription')
        assert lifecycle(peer, ACTIVATE), node.log
        peer.spin_until(publisher.get_subscription_count, f'another subscription: {node.log}')
        # None is missing: it is the decoder that begins anew.
        for number in range(4, 12):
            peer.publish('image/ffmpeg', ffmpeg_packet(packets[number], number))
        wait_for_status(peer, 'answered', '8')
        wait_for_status(peer, 'dropped_no_key_frame', '4')
        peer.spin_until(lambda: len(peer.heard['classification']) == 8, 'every answer')
        assert shown(peer) == own([*range(4), *range(8, 12)])
        assert node.stop() == 0


def test_regions_of_video(peer: Peer) -> None:
    """Each packet is decoded, though detections came for every second one only."""
    peer.listen('classified_detections', Detection2DArray)
    peer.listen_to_diagnostics()
    with run(*FFMPEG, '-p', 'input:=regions', '-p', 'regions_queue:=100', '-p',
             'regions_wait_ms:=60000.0') as node:
        peer.connect('image/ffmpeg', packets_msgs.FFMPEGPacket)
        peer.connect('detections', Detection2DArray)
        packets = shade_packets('h264', 12, gop=12)
        for number, data in enumerate(packets):
            message = ffmpeg_packet(data, number)
            peer.publish('image/ffmpeg', message)
            if number % 2:
                detection = Detection2D(header=message.header)
                detection.bbox.center.position.x = detection.bbox.center.position.y = 24.0
                detection.bbox.size_x = detection.bbox.size_y = 20.0
                peer.publish('detections', Detection2DArray(
                    header=message.header, detections=[detection]))
        heard = peer.heard['classified_detections']
        peer.spin_until(lambda: len(heard) == 6, 'six answers')
        assert sorted((one.header.stamp.nanosec, number_of(float(
            one.detections[0].results[0].hypothesis.class_id.removeprefix('red_'))))
            for one in heard) == own(range(1, 12, 2))
        assert node.stop() == 0
    assert '12 frames received, 6 answered, dropped: 6 refused' in node.log


def test_the_annotated_picture_is_that_of_the_packet(peer: Peer) -> None:
    peer.listen_to_results()
    peer.listen('image_annotated', Image)
    with run(*FFMPEG) as node:
        peer.connect('image/ffmpeg', packets_msgs.FFMPEGPacket)
        data = shade_packets('h264', 1, size=(320, 240))[0]

        def annotated() -> Any:
            # Discovery of the listener by the node takes its time; send until one comes.
            peer.publish('image/ffmpeg', ffmpeg_packet(data, 2))
            return peer.heard['image_annotated']
        picture = peer.spin_until(annotated, 'an annotated picture')[0]
        assert (picture.height, picture.width, picture.encoding) == (240, 320, 'rgb8')
        assert picture.header.stamp.nanosec == 2
        assert node.stop() == 0


def test_an_encoding_that_is_none_is_malformed(peer: Peer) -> None:
    peer.listen_to_results()
    with run(*FFMPEG) as node:
        peer.connect('image/ffmpeg', packets_msgs.FFMPEGPacket)
        peer.publish('image/ffmpeg', ffmpeg_packet(b'whatever', 1, 'theora'))
        wait_for_status(peer, 'dropped_malformed', '1')
        assert node.stop() == 0
    assert "frame dropped: encoding 'theora' is no codec that is known" in node.log


@pytest.mark.parametrize(('transport', 'module', 'line'), [
    ('ffmpeg', 'ffmpeg_image_transport_msgs',
     'sudo apt install ros-<distro>-ffmpeg-image-transport-msgs'),
    ('foxglove', 'foxglove_msgs', 'sudo apt install ros-<distro>-foxglove-msgs'),
    ('ffmpeg', 'av', 'pip install av')])
def test_what_is_missing_is_one_line_at_configure(
        transport: str, module: str, line: str) -> None:
    node = run('-p', f'image_transport:={transport}', prepare=f'sys.modules[{module!r}] = None')
    assert node.wait() == 2
    found = [one for one in node.log.splitlines() if 'cannot configure' in one]
    assert len(found) == 1
    assert line in found[0]
    assert 'Traceback' not in node.log


def test_a_camera_of_video_on_compressed_without_pyav_says_so(peer: Peer) -> None:
    peer.listen_to_results()
    with run(*COMPRESSED, prepare="sys.modules['av'] = None") as node:
        peer.connect('image/compressed', CompressedImage)
        peer.publish(
            'image/compressed', compressed(shade_packets('h264', 1)[0], 1, kind='h264'))
        wait_for_status(peer, 'dropped_malformed', '1')
        assert node.stop() == 0
    assert 'pip install av' in node.log
