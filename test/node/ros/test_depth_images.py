"""Depth images are distinguished from pictures, and logged once."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

from nodes.node_process import image
from nodes.simulated_node import red, run, wait_for_status
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.depth_images import is_depth_topic
from resnet_trt_node.node.ros.conversion import Converter

pytestmark = pytest.mark.slow


def depth(encoding: str, nearest: int = 400, farthest: int = 6_000) -> Any:
    """Return a slope in millimetres, with holes, or brightness of as many steps."""
    values = np.tile(np.linspace(nearest, farthest, 64).astype('<u2'), (48, 1))
    values[::8] = 0
    values[:, :1] = 65535
    return SimpleNamespace(
        height=48, width=64, step=128, encoding=encoding, is_bigendian=0, data=values.tobytes())


def compressed(message: Any) -> Any:
    """Return that image as compressed_image_transport sends it."""
    file = BytesIO()
    Image.fromarray(np.frombuffer(message.data, np.uint16).reshape(48, 64)).save(file, 'PNG')
    return SimpleNamespace(
        format=f'{message.encoding}; png compressed ', data=file.getvalue())


@pytest.mark.parametrize('packed', [False, True])
def test_the_first_depth_image_is_warned_of_in_one_line(packed: bool) -> None:
    lines: list[str] = []
    converter = Converter(warn=lines.append)
    for message in (depth('mono16'), depth('16UC1'), depth('16UC1', 1_000, 15_000)):
        converter.to_frame(compressed(message) if packed else message)
    assert len(lines) == 1
    assert '16UC1 looks like depth' in lines[0]
    assert '\n' not in lines[0]


@pytest.mark.parametrize(('message', 'warned'), [
    (depth('16UC1'), 1), (depth('16uc1'), 1), (depth('16UC1', 0, 3_000), 1), (depth('mono16'), 0),
    (depth('16UC1', 400, 65_000), 0), (depth('16UC1', 0, 0), 0)])
def test_pictures_of_16_bits_are_no_depth(message: Any, warned: int) -> None:
    lines: list[str] = []
    Converter(warn=lines.append).to_frame(message)
    assert len(lines) == warned


@pytest.mark.parametrize(('topic', 'is_depth'), [
    ('/camera/depth/image_raw', True), ('/depth', True), ('/depth_registered/image', True),
    ('/camera/aligned_depth_to_color/image_raw', True), ('/Depth/image', True),
    ('/camera/color/image_raw', False), ('/depth_camera/rgb/image_raw', False),
    ('/depths/image', False), ('/image', False)])
def test_topics_of_depth_are_known_by_their_name(topic: str, is_depth: bool) -> None:
    assert is_depth_topic(topic) == is_depth


def test_the_limit_can_be_changed_between_two_frames() -> None:
    converter, message = Converter(), depth('mono16')
    assert converter.to_frame(message).pixels.shape == (48, 64)
    converter.max_bytes = len(message.data) - 1
    for one in (message, compressed(message)):
        with pytest.raises(FrameError, match='max_image_mib'):
            converter.to_frame(one)
    converter.max_bytes = 2 * len(message.data)
    assert converter.to_frame(compressed(message)).pixels.shape == (48, 64)


def test_the_node_warns_of_depth_once_and_drops_what_is_too_large(peer):
    peer.listen_to_results()
    rows = np.full((48, 64), 1_500, np.uint16).view(np.uint8)
    with run('-p', 'max_image_mib:=1', '-r', 'image:=/camera/depth/image_raw') as node:
        peer.connect('/camera/depth/image_raw')
        for index in range(3):
            message = image(rows, index, encoding='16UC1')
            message.width = 64
            peer.publish('/camera/depth/image_raw', message)
        wait_for_status(peer, 'answered', '3')
        peer.publish('/camera/depth/image_raw', red(1, 600, 600))
        wait_for_status(peer, 'dropped_malformed', '1')
        assert node.stop() == 0
    assert node.log.count('16UC1 looks like depth') == 1
    assert node.log.count('/camera/depth/image_raw is called depth') == 1
    assert '600x600 rgb8 image: it has 2 MiB' in node.log
