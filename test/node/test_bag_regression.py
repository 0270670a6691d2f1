"""The same bag gives the same labels: offline, through the node, and as it always has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bags.detection_messages import at, detections_of
from demo_steps.recording import CAMERAS, write_recording
from nodes.node_process import NodeProcess, Peer
import pytest
from rclpy.serialization import deserialize_message
from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.bag.messages import BagImage
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.replay import replay
from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.cli.main import main
from resnet_trt_node.imaging.decode import message_size
from resnet_trt_node.regions.region import Box, Region
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, Detection2DArray

pytestmark = pytest.mark.slow

#: What EfficientNet-Lite0 has always said of these photographs. Another answer means that the
#: way from the bag to the model has changed.
KNOWN = {
    'cat': 'tiger cat', 'coffee': 'espresso', 'rocket': 'missile', 'cameraman': 'tripod',
    'flower': 'daisy', 'palace': 'palace'}

#: How regions are classified, as parameters and as options.
REGION_SETTINGS = {
    'plain': {'resize_method': 'fast'},
    'tracks': {
        'resize_method': 'exact', 'region_margin': '0.1', 'region_aspect': 'pad',
        'track_cache': 'true', 'reinfer_interval_ms': '300.0', 'reinfer_below': '0.2',
        'smoothing': 'ema', 'max_regions': '7'}}

#: (camera, stamp in nanoseconds) to the top five as (label, score).
Answers = dict[tuple[str, int], list[tuple[str, float]]]


@pytest.fixture(scope='module')
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, int], str]]:
    """Write the bag; return it and which photograph each frame is."""
    path = tmp_path_factory.mktemp('bag') / 'photographs'
    return path, write_recording(path)


@pytest.fixture(scope='module')
def offline(
        recording: Any, efficientnet_lite0: Path,
        tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Return the answers of `resnet_trt classify`, read from the bag that it writes."""
    out = tmp_path_factory.mktemp('classified') / 'photographs'
    assert main(['classify', str(efficientnet_lite0), str(recording[0]), '--output', str(out),
                 '--threads', '1', '--json']) == 0
    answers: Answers = {}
    with BagReader(out) as bag:
        topics = [topic for topic in bag.topics if topic.endswith('/classification')]
        for message in bag.raw_messages(topics):
            _add(answers, message.topic, bag.deserialize(message))
    return answers


def _add(answers: Answers, topic: str, message: Any) -> None:
    stamp = message.header.stamp
    frame = topic.split('/')[1], stamp.sec * 10**9 + stamp.nanosec
    assert frame not in answers, 'a frame was answered twice'
    answers[frame] = [(item.class_id, item.score) for item in message.results]


def test_offline_labels_are_the_known_ones(recording, offline):
    assert {frame: results[0][0] for frame, results in offline.items()} == {
        frame: KNOWN[photograph] for frame, photograph in recording[1].items()}


@pytest.mark.parametrize('compressed', [False, True], ids=['raw', 'compressed'])
def test_the_node_answers_the_same(recording, offline, efficientnet_lite0, compressed):
    cameras = [camera for camera in CAMERAS if camera.compressed == compressed]
    expected = {
        frame: results for frame, results in offline.items()
        if frame[0] in [camera.name for camera in cameras]}
    peer = Peer()
    try:
        peer.listen_to_diagnostics()
        for camera in cameras:
            peer.listen(f'/{camera.name}/classification', Classification)
        arguments = [
            '-p', f'model_path:={efficientnet_lite0}', '-p', 'threads:=1',
            '-p', 'image_reliability:=reliable', '-p', 'queue_depth:=20',
            '-p', 'diagnostics_period_sec:=0.1',
            '-p', 'cameras:=[' + ', '.join(camera.name for camera in cameras) + ']',
            '-p', f'image_transport:={"compressed" if compressed else "raw"}']
        with NodeProcess(*arguments) as node:
            peer.spin_until(
                lambda: all((peer.status() or {}).get(f'{camera.name}/listeners') == '1'
                            for camera in cameras), 'the node to be heard')
            with BagReader(recording[0]) as bag:
                replay(bag, topics=[camera.topic for camera in cameras], rate=4.0, depth=20,
                       wait_for_subscribers=10.0)
            answers: Answers = {}

            def collect():
                answers.clear()
                for camera in cameras:
                    for message in peer.heard[f'/{camera.name}/classification']:
                        _add(answers, f'/{camera.name}/classification', message)
                return len(answers) == len(expected)
            peer.spin_until(collect, 'every answer')
            assert node.stop() == 0
    finally:
        peer.close()
    assert answers.keys() == expected.keys()
    for frame, results in expected.items():
        assert [label for label, _ in answers[frame]] == [label for label, _ in results]
        assert [score for _, score in answers[frame]] == pytest.approx(
            [score for _, score in results], abs=1e-5)


@pytest.fixture(scope='module')
def region_recording(recording: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the bag again, with detections in each image."""
    path = tmp_path_factory.mktemp('regions') / 'photographs'
    with BagReader(recording[0]) as before, BagWriter(path) as bag:
        for image in before.images():
            bag.copy(image)
            camera = image.topic.split('/')[1]
            bag.write(f'/{camera}/detections', DETECTIONS, detections_of(
                image.stamp_ns, *boxes_of(*message_size(image.message)),
                frame_id=image.frame_id), image.log_time_ns)
    return path


def boxes_of(height: int, width: int) -> list[Region]:
    """Return boxes of many kinds, more than a batch has rows."""
    middle = Box(width / 2, height / 2, width / 2, height / 2)
    return [
        Region(at(0, 0, width, height), 'whole'), Region(at(-9, -9, 40, 40)),
        Region(at(width, 0, 30, 30), 'outside'), Region(middle, 'middle'),
        Region(at(5, 5, 7, 50), 'small'), Region(at(0.25, 0.5, width - 0.5, height / 2)),
        Region(Box(middle.center_x, middle.center_y, middle.width, middle.height, 0.5), 'turned'),
        Region(at(0, height / 2, width / 3, height / 2), 'left'),
        Region(at(width / 2, 0, float('nan'), 9)),
        Region(at(width / 2, height / 3, width / 3, height / 2), 'right'),
        Region(at(0, 0, width / 2, height / 2), 'first'),
        Region(at(width / 2, height / 2, width / 2, height / 2), 'last')]


def found_in(message: Any) -> list[Any]:
    """Return what a message says of each region: id, age and classes with their scores."""
    def in_ns(header: Any) -> int:
        return header.stamp.sec * 10**9 + header.stamp.nanosec
    return [
        (one.id, in_ns(message.header) - in_ns(one.header),
         [(result.hypothesis.class_id, result.hypothesis.score) for result in one.results])
        for one in message.detections]


@pytest.mark.parametrize('compressed', [False, True], ids=['raw', 'compressed'])
@pytest.mark.parametrize('name', REGION_SETTINGS)
def test_the_node_answers_the_same_for_regions(
        region_recording, efficientnet_lite0, tmp_path, name, compressed):
    settings = REGION_SETTINGS[name]
    cameras = [camera for camera in CAMERAS if camera.compressed == compressed]
    options = [word for key, value in settings.items() for word in (
        f'--{key.replace("_", "-")}', *([] if value == 'true' else [value]))]
    topics = [word for camera in cameras for word in ('--regions', f'/{camera.name}/detections')]
    assert main([
        'classify', str(efficientnet_lite0), str(region_recording), *topics, *options,
        '--output', str(tmp_path / 'out'), '--threads', '1', '--json']) == 0
    with BagReader(tmp_path / 'out') as bag:
        answers = [f'/{camera.name}/classified_detections' for camera in cameras]
        expected = {
            (one.topic, one.stamp_ns): found_in(one.message) for one in bag.detections(answers)}
    assert len(expected) == sum(len(camera.photographs) for camera in cameras)
    found = node_answers(
        region_recording, cameras, len(expected), name == 'tracks',
        '-p', f'model_path:={efficientnet_lite0}',
        *(word for key, value in settings.items() for word in ('-p', f'{key}:={value}')))
    assert found.keys() == expected.keys()
    for frame, regions in expected.items():
        assert [(one[:2], [label for label, _ in one[2]]) for one in found[frame]] == [
            (one[:2], [label for label, _ in one[2]]) for one in regions]
        for mine, theirs in zip(regions, found[frame], strict=True):
            assert [score for _, score in theirs[2]] == pytest.approx(
                [score for _, score in mine[2]], abs=1e-5)
    ages = {age for regions in expected.values() for _, age, _ in regions}
    assert ages == ({0, 200_000_000} if name == 'tracks' else {0})


def node_answers(
        path: Path, cameras: Any, count: int, in_turn: bool, *arguments: str) -> dict[Any, Any]:
    """Publish images and detections of a bag to a node, in turn or at once; return the answers."""
    peer, transport = Peer(), 'compressed' if cameras[0].compressed else 'raw'
    kind = CompressedImage if cameras[0].compressed else Image
    try:
        peer.listen_to_diagnostics()
        for camera in cameras:
            peer.listen(f'/{camera.name}/classified_detections', Detection2DArray)
        with NodeProcess(
                '-p', 'input:=regions', '-p', 'threads:=1', '-p', 'queue_depth:=20',
                '-p', 'regions_wait_ms:=60000.0', '-p', 'regions_queue:=100',
                '-p', 'image_reliability:=reliable', '-p', 'diagnostics_period_sec:=0.1',
                '-p', 'cameras:=[' + ', '.join(camera.name for camera in cameras) + ']',
                '-p', f'image_transport:={transport}', *arguments) as node:
            for camera in cameras:
                peer.connect(camera.topic, kind, camera=f'{camera.name}/')
                peer.connect(
                    f'/{camera.name}/detections', Detection2DArray, camera=f'{camera.name}/')
            topics = [f'/{camera.name}/classified_detections' for camera in cameras]
            published = 0
            with BagReader(path) as bag:
                for one in bag.images_and_detections(
                        [camera.topic for camera in cameras],
                        [f'/{camera.name}/detections' for camera in cameras]):
                    is_image = isinstance(one, BagImage)
                    peer.publish(one.topic, deserialize_message(
                        bytes(one.raw), kind if is_image else Detection2DArray))
                    published += 1
                    if in_turn and published % 2 == 0:
                        peer.spin_until(
                            lambda: 2 * sum(len(peer.heard[topic]) for topic in topics)
                            == published, 'the answer')  # noqa: B023
            peer.spin_until(
                lambda: sum(len(peer.heard[topic]) for topic in topics) == count, 'every answer')
            assert node.stop() == 0
        return {
            (topic, message.header.stamp.sec * 10**9 + message.header.stamp.nanosec):
                found_in(message) for topic in topics for message in peer.heard[topic]}
    finally:
        peer.close()
