"""Large jpegs are decoded as small as the fit allows, and in full where they are shown."""

from __future__ import annotations

from queue import Queue
from types import SimpleNamespace
from typing import Optional

import cv2
from nodes.node_process import compressed, NodeProcess, Peer
import numpy as np
import pytest
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.work import WholeFrames
from resnet_trt_node.node.ros.conversion import Converter
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.slow


def jpeg_1080p() -> bytes:
    """Return a jpeg of 1920x1080 pixels."""
    rows, columns = np.mgrid[0:1080, 0:1920]
    picture = np.dstack([rows // 5, columns // 8, (rows + columns) // 12]).astype(np.uint8)
    return cv2.imencode('.jpg', picture)[1].tobytes()


@pytest.mark.parametrize(('side', 'shape'), [
    (None, (1080, 1920, 3)), (512, (540, 960, 3)), (256, (270, 480, 3)), (1080, (1080, 1920, 3))])
def test_the_converter_keeps_as_many_pixels_as_are_asked_for(side, shape):
    message = SimpleNamespace(format='jpeg', data=jpeg_1080p())
    assert Converter().to_frame(message, side).pixels.shape == shape


@pytest.mark.parametrize(('method', 'side'), [('fast', 512), ('exact', None)])
def test_the_pipeline_asks_for_what_its_resizer_needs(method, side):
    asked: Queue[Optional[int]] = Queue()

    def decode(message, reduced_to):
        asked.put(reduced_to)
        return Frame(np.zeros((8, 8, 3), np.uint8), 'rgb')

    def open_backend():
        return SimulatedBackend('', SimulatedOptions(
            max_batch_size=1, num_buffers=2, simulated_ms=0.0))

    pipeline = Pipeline(('front',), 1, WholeFrames(method), LiveSettings(), PipelineHooks(
        open_backend, decode, lambda *_: None, lambda *_: None, lambda *_: None))
    try:
        pipeline.start()
        pipeline.resume()
        pipeline.offer('front', None)
        assert asked.get(timeout=60) == side
    finally:
        assert pipeline.close(60.0)


def test_the_annotated_picture_keeps_its_size():
    peer = Peer()
    try:
        with NodeProcess(
                '-p', 'backend:=simulated:1.0', '-p',
                'image_reliability:=reliable', '-p', 'image_transport:=compressed', '-p',
                'diagnostics_period_sec:=0.2'):
            peer.listen_to_results()
            peer.listen('image_annotated', Image)
            peer.connect('image/compressed', CompressedImage)
            jpeg = jpeg_1080p()
            for number in range(1, 100):
                # The first may come before the node knows who listens to the pictures.
                peer.publish('image/compressed', compressed(jpeg, number))
                peer.spin_until(
                    lambda number=number: len(peer.heard['classification']) == number, 'an answer')
                if peer.heard['image_annotated']:
                    break
            picture = peer.heard['image_annotated'][0]
            assert (picture.height, picture.width) == (1080, 1920)
    finally:
        peer.close()
