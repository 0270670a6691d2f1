"""A topic without a publisher: what other nodes publish that may be meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from nodes.node_services import lifecycle
from nodes.simulated_node import ACTIVATE, DEACTIVATE, run
import pytest
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.topics.image_source import ImageSource
from sensor_msgs.msg import Image
from std_msgs.msg import String

pytestmark = pytest.mark.slow

RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
PACKETS = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'


def graph(topics: dict[str, tuple[str, str]]) -> Any:
    """Return a node that sees topics, each with its type and the full name of its publisher."""
    def publishers(topic):
        namespace, _, name = topics[topic][1].rpartition('/')
        return [SimpleNamespace(node_namespace=namespace or '/', node_name=name)] * bool(name)

    return SimpleNamespace(
        get_fully_qualified_name=lambda: '/car/classifier', get_clock=lambda: None,
        resolve_topic_name=lambda topic: f'/car/{topic}',
        get_publishers_info_by_topic=publishers,
        get_topic_names_and_types=lambda: [(name, [kind]) for name, (kind, _) in topics.items()])


@pytest.mark.parametrize(('transport', 'topics', 'remedy'), [
    ('raw', {}, ''),
    ('raw', {'/car/image': (RAW, ''), '/chatter': ('std_msgs/msg/String', '/talker')}, ''),
    # Its own pictures, and what it reads as another camera.
    ('raw', {'/car/image_annotated': (RAW, '/car/classifier'), '/car/left': (RAW, '/cam')}, ''),
    ('raw', {'/camera/image_raw': (RAW, '/cam')},
     f'{RAW} is published on /camera/image_raw: -r image:=/camera/image_raw'),
    ('raw', {f'/c{number}': (RAW, '/cam') for number in range(5)},
     f'{RAW} is published on /c0, /c1, /c2 and 2 more: -r image:=/c0'),
    ('raw', {'/car/image/compressed': (COMPRESSED, '/cam'), '/x': (RAW, '/cam')},
     '/car/image/compressed is published: set the parameter image_transport to match'),
    ('raw', {'/x/compressed': (COMPRESSED, '/cam')}, ''),
    ('compressed', {'/car/image': (RAW, '/cam')},
     '/car/image is published: set the parameter image_transport to match'),
    ('raw', {'/car/image/ffmpeg': (PACKETS, '/cam')},
     '/car/image/ffmpeg is published: set the parameter image_transport to match'),
    ('compressed', {'/car/image/ffmpeg': (PACKETS, '/cam')},
     '/car/image/ffmpeg is published: set the parameter image_transport to match'),
    ('compressed', {'/x/compressed': (COMPRESSED, '/cam')},
     f'{COMPRESSED} is published on /x/compressed: -r image/compressed:=/x/compressed'),
])
def test_what_may_be_meant(transport, topics, remedy):
    topic = ImageSource(graph(topics), '', NodeParameters(
        image_transport=transport, receive='message')).topic
    assert topic.published_instead(['/car/left']) == remedy


def test_the_log_of_a_node_that_listens_to_a_wrong_name(peer):
    peer.node.create_publisher(String, '/chatter', 1)
    peer.node.create_publisher(Image, '/camera/image_raw', 1)
    timeout = '/image: no image for 0.1 s'
    with run('-p', 'camera_timeout_sec:=0.1') as node:
        node.wait_for(timeout)
        # The first may have come before the node knew of the others' topics, or while discovery
        # still knew of a publisher that was killed in an earlier test.
        while 'is published on' not in node.log:
            logged = node.log.count(timeout)
            assert lifecycle(peer, DEACTIVATE)
            assert lifecycle(peer, ACTIVATE)
            peer.spin_until(
                lambda logged=logged: node.log.count(timeout) > logged, 'the next timeout')
        assert node.stop() == 0
    assert 'it has no publisher' in node.log
    assert ('remap the topic; sensor_msgs/msg/Image is published on /camera/image_raw: '
            '-r image:=/camera/image_raw') in node.log
