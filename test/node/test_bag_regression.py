"""The same bag gives the same labels: offline, through the node, and as it always has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from demo_steps.recording import CAMERAS, write_recording
from node_process import NodeProcess, Peer
import pytest
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.bag.replay import replay
from resnet_trt_node.cli.main import main
from vision_msgs.msg import Classification

pytestmark = pytest.mark.slow

#: What EfficientNet-Lite0 has always said of these photographs. Another answer means that the
#: way from the bag to the model has changed.
KNOWN = {
    'cat': 'tiger cat', 'coffee': 'espresso', 'rocket': 'missile', 'cameraman': 'tripod',
    'motorcycle': 'moped', 'flower': 'daisy', 'palace': 'palace'}

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
            '-p', f'model_path:={efficientnet_lite0}', '-p', 'cpu_threads:=1',
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
