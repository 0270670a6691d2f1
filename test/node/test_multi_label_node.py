"""A multi-label model in the node: its own process, real DDS, ONNX Runtime's answers."""

from __future__ import annotations

from models.tiny_model import LIGHTS, write_multi_label_model
from nodes.node_process import image, NodeProcess
import numpy as np
import pytest
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo

pytestmark = pytest.mark.slow

NODE = ('-p', 'backend:=onnxruntime', '-p', 'camera_timeout_sec:=0.0', '-p', 'queue_depth:=100',
        '-p', 'image_reliability:=reliable', '-p', 'diagnostics_period_sec:=0.1')


def picture(*colour: int) -> np.ndarray:
    return np.full((48, 64, 3), colour, np.uint8)


def detections(header, *squares: tuple[int, int]) -> Detection2DArray:
    """Return boxes of 48 pixels by their upper left corners."""
    message = Detection2DArray(header=header)
    for left, top in squares:
        one = Detection2D()
        one.bbox.center.position.x, one.bbox.center.position.y = left + 24.0, top + 24.0
        one.bbox.size_x = one.bbox.size_y = 48.0
        message.detections.append(one)
    return message


def test_every_class_above_the_threshold_is_published_whatever_top_k_is(peer, tmp_path):
    peer.listen_to_results()
    peer.listen('label_info', LabelInfo, latched=True)
    heard = peer.heard['classification']
    model = write_multi_label_model(tmp_path / 'lights.onnx')
    with NodeProcess(*NODE, '-p', f'model_path:={model}', '-p', 'top_k:=2') as node:
        peer.connect('image')
        for number, colour in enumerate(((255, 255, 250), (250, 255, 0), (0, 0, 0)), 1):
            peer.publish('image', image(picture(*colour), number))
            peer.spin_until(lambda due=number: len(heard) == due, f'answer {number}')
        found = [[one.class_id for one in message.results] for message in heard]
        # All six of the white one, falling; none of the black one, which is an answer too.
        assert found == [
            ['red', 'green', 'warm', 'leaf', 'blue', 'sky'], ['green', 'leaf', 'red', 'warm'], []]
        assert [one.score for one in heard[1].results] == pytest.approx(
            [1 / (1 + np.exp(-10 * (mean / 255 - 0.5))) for mean in (255, 255, 250, 250)],
            abs=1e-5)
        peer.spin_until(lambda: peer.heard['label_info'], 'the labels')
        assert peer.heard['label_info'][0].threshold == 0.5
        assert node.stop() == 0
    assert '6 classes, multi-label' in node.log
    assert '3 frames received, 3 answered' in node.log


def test_every_class_of_a_region_is_published(peer, tmp_path):
    peer.listen('classified_detections', Detection2DArray)
    peer.listen_to_diagnostics()
    heard = peer.heard['classified_detections']
    model = write_multi_label_model(tmp_path / 'lights.onnx')
    with NodeProcess(
            *NODE, '-p', f'model_path:={model}', '-p', 'top_k:=1', '-p', 'input:=regions',
            '-p', 'regions_wait_ms:=60000.0', '-p', 'score_threshold:=0.9') as node:
        peer.connect('image')
        peer.connect('detections', Detection2DArray)
        pixels = np.zeros((96, 96, 3), np.uint8)
        pixels[:48, :48] = 255
        pixels[48:, 48:, 2] = 255
        pixels[:48, 48:, 1] = 140  # a score of 0.6
        message = image(pixels, 1)
        peer.publish('image', message)
        peer.publish('detections', detections(message.header, (0, 0), (48, 48), (48, 0)))
        peer.spin_until(lambda: heard, 'the answer')
        assert [[result.hypothesis.class_id for result in one.results]
                for one in heard[0].detections] == [[*LIGHTS], ['blue', 'sky'], []]
        assert node.stop() == 0


def test_a_majority_of_best_classes_is_refused(tmp_path):
    model = write_multi_label_model(tmp_path / 'lights.onnx')
    with NodeProcess(
            *NODE, '-p', f'model_path:={model}', '-p', 'input:=regions',
            '-p', 'smoothing:=majority') as node:
        node.wait_for('choose ema or none')
