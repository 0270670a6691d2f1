"""Which topics of a bag replay.launch.py plays and what it passes to the node; without launch."""

import pytest

from resnet_trt_node.errors import BagError, ResnetTrtError, UsageError
from resnet_trt_node.launch_support.launch_arguments import classify_arguments
from resnet_trt_node.launch_support.replay_arguments import replay_arguments, replay_settings

IMAGE = 'sensor_msgs/msg/Image'
JPEG = 'sensor_msgs/msg/CompressedImage'
PACKET = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
RAW = {'/camera/image_raw': IMAGE}
EVERY = {
    '/camera/image_raw': IMAGE, '/camera/image_raw/compressed': JPEG,
    '/camera/image_raw/ffmpeg': PACKET}
TWO = {'/car/front/image': IMAGE, '/car/left/image': IMAGE}


def settings(recorded, surrounding='', **given):
    everything = {argument.name: argument.default for argument in replay_arguments()}
    assert given.keys() <= everything.keys()
    return replay_settings({**everything, 'bag': 'drive', **given}, recorded, surrounding)


def played(result):
    """Return the values of --topic."""
    command = result.command
    return [
        command[place + 1] for place, word in enumerate(command) if word == '--topic']


def test_it_has_the_arguments_of_the_node_and_its_own():
    names = [argument.name for argument in replay_arguments()]
    assert names == ['bag', 'rate', 'loop', *(one.name for one in classify_arguments())]
    for argument in replay_arguments():
        assert argument.description.endswith('.'), argument.name
        assert not argument.choices or argument.default in argument.choices, argument.name
    assert {one.name: one.default for one in replay_arguments() if one.default} == {
        'rate': '1.0', 'loop': 'false', 'image_reliability': 'reliable'}


def test_the_only_image_topic_needs_no_name():
    result = settings(RAW)
    assert result.command == [
        'replay', 'drive', '--rate', '1.0', '--wait', '3600', '--topic', '/camera/image_raw']
    assert result.node_arguments == {
        'image_topic': '/camera/image_raw', 'image_transport': 'raw'}


@pytest.mark.parametrize('yes', ['true', 'True', '1'])
def test_rate_loop_and_clock_are_passed_on(yes):
    command = settings(RAW, rate='2', loop=yes, use_sim_time=yes).command
    assert command[:7] == [
        'replay', 'drive', '--rate', '2.0', '--wait', '3600', '--loop']
    assert '--clock' in command
    command = settings(RAW, loop='False', use_sim_time='False').command
    assert not {'--clock', '--loop'} & {*command}


@pytest.mark.parametrize(('transport', 'topic', 'kind'), [
    ('', '/camera/image_raw', 'raw'),
    ('raw', '/camera/image_raw', 'raw'),
    ('compressed', '/camera/image_raw/compressed', 'compressed'),
    ('ffmpeg', '/camera/image_raw/ffmpeg', 'ffmpeg'),
])
@pytest.mark.parametrize('image_topic', [
    '', '/camera/image_raw', 'camera/image_raw', '/camera/image_raw/compressed'])
def test_of_several_forms_of_a_topic_the_transport_chooses(image_topic, transport, topic, kind):
    result = settings(EVERY, image_topic=image_topic, image_transport=transport)
    assert played(result) == [topic]
    assert result.node_arguments == {
        'image_topic': '/camera/image_raw', 'image_transport': kind}


def test_a_compressed_topic_of_any_name_is_played_where_the_node_listens():
    result = settings({'/jpegs': JPEG})
    assert played(result) == ['/jpegs:=/jpegs/compressed']
    assert result.node_arguments == {'image_topic': '/jpegs', 'image_transport': 'compressed'}


@pytest.mark.parametrize(('topic', 'played_as'), [
    ('/camera/ffmpeg', '/camera/ffmpeg'), ('/video', '/video:=/video/ffmpeg')])
def test_packets_are_played_to_a_node_that_takes_packets(topic, played_as):
    result = settings({topic: PACKET})
    assert played(result) == [played_as]
    assert result.node_arguments == {
        'image_topic': topic.removesuffix('/ffmpeg'), 'image_transport': 'ffmpeg'}


def test_a_video_of_foxglove_is_played_as_a_compressed_image():
    result = settings({'/camera/foxglove': JPEG})
    assert played(result) == ['/camera/foxglove:=/camera/compressed']
    assert result.node_arguments == {'image_topic': '/camera', 'image_transport': 'compressed'}
    both = {'/camera/compressed': JPEG, '/camera/foxglove': JPEG}
    for name, expected in (('/camera', '/camera/compressed'), (
            '/camera/foxglove', '/camera/foxglove:=/camera/compressed')):
        assert played(settings(both, image_topic=name)) == [expected]


def test_each_camera_has_its_own_topic_in_its_own_order():
    result = settings({**TWO, '/rear': IMAGE}, cameras='a,b', image_topic='/rear,/car/left/image')
    assert played(result) == ['/rear', '/car/left/image']
    assert result.node_arguments['image_topic'] == '/rear,/car/left/image'


@pytest.mark.parametrize(('namespace', 'surrounding'), [
    ('car', ''), ('/car', ''), ('/car/', ''), ('', '/car'), ('', 'car/'), ('/car', '/other')])
def test_cameras_are_found_by_the_names_that_the_node_gives_them(namespace, surrounding):
    result = settings(TWO, surrounding, cameras='front,left', namespace=namespace)
    assert played(result) == list(TWO)


@pytest.mark.parametrize(('recorded', 'given', 'kind', 'message'), [
    (RAW, {'rate': 'fast'}, UsageError, "rate: 'fast' is not a number"),
    (RAW, {'rate': '0'}, UsageError, 'rate: 0 is out of range, it must be above 0'),
    (RAW, {'rate': 'inf'}, UsageError, 'rate: inf is out of range'),
    (RAW, {'rate': 'nan'}, UsageError, 'rate: nan is out of range'),
    (RAW, {'loop': 'maybe'}, UsageError, "loop: 'maybe' is neither true nor false"),
    (RAW, {'use_sim_time': 'on'}, UsageError, "use_sim_time: 'on' is neither true nor false"),
    ({}, {}, BagError, 'the bag has no image topic'),
    (TWO, {}, BagError, 'the bag has the image topics /car/front/image, /car/left/image: '
     'choose with image_topic:=...'),
    (TWO, {'cameras': 'front,left'}, BagError, 'the bag has no image topic /front/image, '
     'it has /car/front/image, /car/left/image: choose'),
    (RAW, {'image_topic': '/x'}, BagError, 'the bag has no image topic /x, it has '
     '/camera/image_raw: choose'),
    (RAW, {'image_transport': 'compressed'}, BagError,
     'the bag has no compressed image topic /camera/image_raw, it has '),
    ({'/a': IMAGE, '/b/compressed': JPEG}, {'image_topic': '/a,/b'}, UsageError,
     '/a, /b/compressed are raw and compressed images, and the node takes one kind: name others'),
    ({'/a/ffmpeg': PACKET, '/b/compressed': JPEG}, {'image_topic': '/a,/b'}, UsageError,
     '/a/ffmpeg, /b/compressed are ffmpeg and compressed images'),
    (RAW, {'cameras': ',a'}, UsageError, "cameras: ',a' has an empty name"),
])
def test_what_cannot_be_played_is_refused_in_words(recorded, given, kind, message):
    with pytest.raises(ResnetTrtError) as refusal:
        settings(recorded, **given)
    assert type(refusal.value) is kind
    assert str(refusal.value).startswith(message)
