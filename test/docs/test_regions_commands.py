"""The commands of docs/how-to/regions.md that need ROS 2 run as they stand, over real DDS."""

from __future__ import annotations

from importlib import import_module
import re
import shlex

from bags.detection_messages import detections_of
from bags.foreign_messages import compile_messages
from bags.region_scenes import patch, scene
from documentation.page_commands import end, running
from documentation.pages import commands
from models.tiny_model import write_tiny_model
from nodes.installed_package import install_package
import pytest
from repository import REPOSITORY
from resnet_trt_node.bag.message_types import default_typestore, DETECTIONS
import yaml

pytestmark = pytest.mark.slow

pytest.importorskip('rclpy', reason='ROS 2 is not installed')
messages = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not built')

TEXT = (REPOSITORY / 'docs' / 'how-to' / 'regions.md').read_text(encoding='utf-8')
NODES, LAUNCHES, CONVERTERS, TOPS = (
    commands(TEXT, words) for words in (
        'classifier_node', 'ros2 launch resnet_trt_node', 'python3', 'resnet_trt top'))
#: What the page adds to a command, for the traffic lights among the numbered classes.
ADDED = re.findall('`(-p ".*?")`', TEXT)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Make a folder with the models that the page names; the package is installed in it."""
    for name in set(re.findall(r'model_path:=(?:\$PWD/)?(\S+)', TEXT)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_tiny_model(tmp_path / name)
    for name, value in install_package(tmp_path / 'prefix').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    return tmp_path


def answer(peer, image_topic, detections_topic, camera='', kind='', late_ns=0):
    """
    Send scenes with two regions until one is answered, and return the answer's classes.

    :param camera: name of the camera with a slash, '' for the only one.
    :param kind: class of the first region.
    :param late_ns: how much younger than its image each message of detections is.
    """
    from nodes.node_process import image
    from sensor_msgs.msg import Image
    peer.listen_to_diagnostics()
    peer.listen(f'{camera}classified_detections', messages.Detection2DArray)
    heard = peer.heard[f'{camera}classified_detections']
    peer.connect(image_topic, Image, camera)
    peer.connect(detections_topic, messages.Detection2DArray, camera)
    regions = patch('red', 'a', kind), patch('blue', 'b', 'other')
    stamps_ns = []

    def answered():
        # Again, since images are best effort.
        number = len(stamps_ns) * 20_000_000 % 10**9
        stamps_ns.append(1700000000 * 10**9 + number)
        peer.publish(image_topic, image(scene(), number))
        peer.publish(detections_topic, bytes(default_typestore().serialize_cdr(
            detections_of(stamps_ns[-1] + late_ns, *regions), DETECTIONS)))
        return heard
    message = peer.spin_until(answered, 'an answer')[0]
    assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - late_ns in stamps_ns
    assert [one.id for one in message.detections] == ['a', 'b']
    return [one.results[0].hypothesis.class_id for one in message.detections]


def test_every_command_is_looked_at():
    """By itself, by launch, and what works with it; others need another's package."""
    blocks = re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
    fenced = [line for block in blocks for line in commands(block, r'\S+')]
    assert len(NODES) == 6
    assert [len(found) for found in (LAUNCHES, CONVERTERS, TOPS, ADDED)] == [1, 2, 1, 1]
    # Those in other programs of this package are in test_regions_page.py.
    assert {line for line in fenced if line not in NODES + TOPS} == set(
        commands(TEXT, 'resnet_trt (?:classify|evaluate)'))


@pytest.mark.parametrize('line', [*NODES, *(f'{NODES[1]} {option}' for option in ADDED)])
def test_a_node_answers(peer, workplace, line):
    """On the topics given; what `region_classes` leaves out keeps the detector's class."""
    topics = dict(re.findall(r'-r (\w+):=(\S+)', line))
    given = dict(word.split(':=', 1) for word in shlex.split(line) if ':=' in word)
    chosen = yaml.safe_load(given.get('region_classes', "['']"))[0]
    # Of what the stamps may differ by, nearly all.
    late_ns = round(0.9e6 * float(given.get('regions_slop_ms', '0')))
    with running(line, workplace) as node:
        found = answer(peer, topics['image'], topics['detections'], kind=chosen, late_ns=late_ns)
        end(node)
    assert found == ['red', 'other' if chosen else 'blue']


@pytest.mark.parametrize('line', LAUNCHES)
def test_a_launched_node_answers_for_every_camera(peer, workplace, line):
    """Each on its own topics, by the command of the launch file."""
    given = dict(word.split(':=', 1) for word in shlex.split(line) if ':=' in word)
    cameras, images, detections = (
        given[name].split(',') for name in ('cameras', 'image_topic', 'detections_topic'))
    assert len(cameras) == len(images) == len(detections) == 2
    with running(line, workplace) as node:
        for camera, *topics in zip(cameras, images, detections):
            assert answer(peer, *topics, f'{camera}/') == ['red', 'blue']
        end(node)


def test_top_shows_the_counters_of_regions(peer, workplace):
    """Of a node that has answered."""
    topics = dict(re.findall(r'-r (\w+):=(\S+)', NODES[0]))
    with running(NODES[0], workplace) as node:
        answer(peer, topics['image'], topics['detections'])
        peer.spin_until(
            lambda: peer.status().get('regions_answered', '0') != '0', 'diagnostics of regions')
        with running(f'{TOPS[0]} --wait 20', workplace) as top:
            shown, _ = top.communicate(timeout=300)
        assert top.returncode == 0, shown
        end(node)
    assert '/classifier' in shown
    assert 'regions: 2.0 a frame, ' in shown


def yolo(found):
    """Return a yolo_msgs/DetectionArray with one box; `found` is the module of its type."""
    one = found.Detection(class_name='traffic light', score=0.5, id='a')
    one.bbox.center.position.x = one.bbox.center.position.y = 20.0
    one.bbox.size.x = one.bbox.size.y = 40.0
    return found.DetectionArray(detections=[one])


def lamps(found):
    """Return a tier4_perception_msgs/TrafficLightRoiArray with the same one."""
    from sensor_msgs.msg import RegionOfInterest
    return found.TrafficLightRoiArray(rois=[found.TrafficLightRoi(
        roi=RegionOfInterest(width=40, height=40), traffic_light_id=7)])


@pytest.mark.parametrize(('line', 'make', 'name'), [
    (CONVERTERS[0], yolo, ('a', 'traffic light')),
    (CONVERTERS[1], lamps, ('7', 'car_traffic_light'))])
def test_a_converter_converts(peer, workplace, monkeypatch, line, make, name):
    """What the detector would publish on the topic given, to boxes that the page's node hears."""
    kind = shlex.split(line)[2]
    topics = dict(re.findall(r'-r (\w+):=(\S+)', line))
    package, _, type_name = kind.split('/')
    path = compile_messages(package, workplace / package)
    monkeypatch.syspath_prepend(path)
    found = import_module(f'{package}.msg')
    peer.listen(topics['detections'], messages.Detection2DArray)
    heard = peer.heard[topics['detections']]
    publisher = peer.node.create_publisher(getattr(found, type_name), topics['in'], 10)
    message = make(found)
    message.header.frame_id = 'front'
    (workplace / 'examples').symlink_to(REPOSITORY / 'examples')

    def converted():
        publisher.publish(message)
        return heard
    with running(line, workplace, path) as converter:
        box = peer.spin_until(converted, 'detections')[0]
        end(converter)
    assert box.header == message.header
    assert [(one.id, one.results[0].hypothesis.class_id, one.bbox.center.position.x,
             one.bbox.size_y) for one in box.detections] == [(*name, 20.0, 40.0)]
    assert any(f'detections:={topics["detections"]}' in node for node in NODES)


def test_the_converted_types_are_on_the_page(monkeypatch):
    """All of them, those without a command too."""
    monkeypatch.syspath_prepend(REPOSITORY / 'examples' / 'regions')
    from to_detections import CONVERTERS as KINDS
    assert len(KINDS) == 3
    assert [kind for kind in KINDS if kind not in TEXT] == []
