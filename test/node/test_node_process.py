"""The node as its users meet it: its own process, real DDS, values asserted."""

from __future__ import annotations

import re
import signal
import subprocess

import cv2
from lifecycle_msgs.msg import Transition
from models.tiny_model import COLOURS, write_tiny_model
from nodes.node_process import compressed, image, NodeProcess
from nodes.node_services import lifecycle, set_parameter, state
import numpy as np
import pytest
from rcl_interfaces.msg import ParameterType, ParameterValue
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.slow

NAMES = tuple(COLOURS)


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('model') / 'tiny.onnx')


def flat(colour: str, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), COLOURS[colour], np.uint8)


def run(model, *arguments: str) -> NodeProcess:
    # Reliable and deep, so that what is tested is the node and not how busy the machine is.
    return NodeProcess(
        '-p', f'model_path:={model}', '-p', 'threads:=1', '-p', 'image_reliability:=reliable',
        '-p', 'queue_depth:=1000', '-p', 'diagnostics_period_sec:=0.1', *arguments)


@pytest.mark.usefixtures('receive')
def test_known_pictures_get_their_names_with_their_own_headers(model, peer):
    peer.listen_to_results()
    with run(model, '-p', 'top_k:=3') as node:
        peer.connect('image')
        sent = [NAMES[i % len(NAMES)] for i in range(40)]
        for number, colour in enumerate(sent):
            peer.publish('image', image(flat(colour), number, f'camera_{number}'))
        results = peer.heard['classification']
        peer.spin_until(lambda: len(results) == len(sent), 'every answer')
        for number, (colour, result) in enumerate(zip(sent, results)):
            assert result.header.stamp.sec == 1700000000
            assert result.header.stamp.nanosec == number
            assert result.header.frame_id == f'camera_{number}'
            assert result.results[0].class_id == colour
            scores = [hypothesis.score for hypothesis in result.results]
            assert len(scores) == 3
            assert 1 >= scores[0] >= scores[1] >= scores[2] >= 0
            assert scores[0] > 0.99
        info = peer.spin_until(lambda: peer.heard['label_info'], 'the class names')[0]
        labels = {item.class_id: item.class_name for item in info.class_map}
        assert labels == dict(enumerate(NAMES))
        code = node.stop()
    assert code == 0, node.log
    assert node.ended_by_itself
    assert '40 frames received, 40 answered, dropped: none' in node.log
    assert 'Traceback' not in node.log


@pytest.mark.usefixtures('receive')
def test_bad_frames_are_counted_and_the_next_good_one_is_answered(model, peer):
    peer.listen_to_results()
    wrong_length = image(flat('red'))
    wrong_length.data = wrong_length.data[:-1]
    empty = image(flat('red'))
    empty.height = 0
    unknown = image(flat('red'), encoding='no_such_encoding')
    absurd = image(flat('red'))
    absurd.width = absurd.height = 2 ** 31
    with run(model) as node:
        peer.connect('image')
        bad = [wrong_length, empty, unknown, absurd]
        for message in bad:
            peer.publish('image', message)
        peer.publish('image', image(flat('blue'), 7))
        peer.spin_until(lambda: peer.heard['classification'], 'the good answer')
        peer.spin_until(
            lambda: (peer.status() or {}).get('answered') == '1', 'diagnostics of the answer')
        status = peer.status()
        assert status['received'] == '5'
        assert status['dropped_malformed'] == '4'
        assert status['in_progress'] == '0'
        assert peer.heard['classification'][0].header.stamp.nanosec == 7
        assert peer.heard['classification'][0].results[0].class_id == 'blue'
        assert node.stop() == 0
    assert '5 frames received, 1 answered, dropped: 4 malformed' in node.log
    # Throttled to one a second; the four came at once, or nearly so on a busy machine.
    assert 1 <= node.log.count('frame dropped') < 4


@pytest.mark.usefixtures('receive')
def test_compressed_frames_of_several_cameras(model, peer):
    peer.listen_to_results('front/')
    peer.listen_to_results('left/')
    with run(model, '-p', 'cameras:=[front, left]', '-p', 'image_transport:=compressed') as node:
        for camera in ('front', 'left'):
            peer.connect(f'{camera}/image/compressed', CompressedImage, f'{camera}/')
        for number, colour in enumerate(('red', 'green', 'blue', 'white')):
            coded = cv2.imencode('.jpg', flat(colour)[:, :, ::-1])[1].tobytes()
            peer.publish('front/image/compressed', compressed(coded, number))
            coded = cv2.imencode('.png', flat(NAMES[number])[:, :, ::-1])[1].tobytes()
            peer.publish('left/image/compressed', compressed(coded, number, kind='png'))
        peer.publish('left/image/compressed', compressed(coded[:20], 99, kind='png'))
        front, left = (peer.heard[f'{camera}/classification'] for camera in ('front', 'left'))
        peer.spin_until(lambda: len(front) == 4 and len(left) == 4, 'four answers each')
        assert [item.results[0].class_id for item in front] == ['red', 'green', 'blue', 'white']
        assert [item.results[0].class_id for item in left] == list(NAMES[:4])
        peer.spin_until(
            lambda: (peer.status() or {}).get('left/dropped_malformed') == '1', 'the bad frame')
        # It is dropped before the others are answered.
        for camera in ('front', 'left'):
            peer.spin_until(
                lambda camera=camera: peer.status()[f'{camera}/answered'] == '4', 'the others')
        assert node.stop() == 0


def test_annotated_pictures_only_while_someone_listens(model, peer):
    peer.listen_to_results()
    with run(model, '-p', 'class_id_format:=index') as node:
        peer.connect('image')
        peer.publish('image', image(flat('green'), 1))
        peer.spin_until(lambda: len(peer.heard['classification']) == 1, 'an answer')
        assert peer.heard['classification'][0].results[0].class_id == str(NAMES.index('green'))
        peer.listen('image_annotated', Image)
        peer.spin_until(
            lambda: peer.node.count_publishers('image_annotated') == 1, 'the annotated topic')

        def annotated():
            # Discovery of the listener by the node takes its time; send until one comes.
            peer.publish('image', image(flat('green', 120, 160), 2))
            return peer.heard['image_annotated']
        picture = peer.spin_until(annotated, 'an annotated picture')[0]
        assert (picture.height, picture.width, picture.encoding) == (120, 160, 'rgb8')
        assert picture.header.stamp.nanosec == 2
        pixels = np.frombuffer(picture.data, np.uint8).reshape(120, 160, 3)
        assert (pixels == COLOURS['green']).all(axis=2).any(), 'the picture is not there'
        assert (pixels != COLOURS['green']).any(), 'nothing is drawn on it'
        assert node.stop() == 0


@pytest.mark.usefixtures('receive')
def test_lifecycle_and_live_parameters(model, peer):
    peer.listen_to_results()
    integer, string = ParameterType.PARAMETER_INTEGER, ParameterType.PARAMETER_STRING
    with run('/no/such/model.onnx', '-p', 'autostart:=false') as node:
        assert state(peer) == 'unconfigured'
        assert not lifecycle(peer, Transition.TRANSITION_CONFIGURE)
        peer.spin_until(lambda: 'no model at /no/such/model.onnx' in node.log, 'the reason')
        assert state(peer) == 'unconfigured'
        assert set_parameter(peer, 'model_path', ParameterValue(
            type=string, string_value=str(model))) == (True, '')
        for step, expected in (
                (Transition.TRANSITION_CONFIGURE, 'inactive'),
                (Transition.TRANSITION_ACTIVATE, 'active'),
                (Transition.TRANSITION_DEACTIVATE, 'inactive'),
                (Transition.TRANSITION_CLEANUP, 'unconfigured'),
                (Transition.TRANSITION_CONFIGURE, 'inactive'),
                (Transition.TRANSITION_ACTIVATE, 'active')):
            assert lifecycle(peer, step), node.log
            assert state(peer) == expected
        peer.connect('image')
        peer.publish('image', image(flat('red'), 1))
        peer.spin_until(lambda: len(peer.heard['classification']) == 1, 'an answer')
        assert set_parameter(peer, 'top_k', ParameterValue(
            type=integer, integer_value=1)) == (True, '')
        peer.publish('image', image(flat('red'), 2))
        peer.spin_until(lambda: len(peer.heard['classification']) == 2, 'another answer')
        assert [len(item.results) for item in peer.heard['classification']] == [5, 1]
        accepted, reason = set_parameter(peer, 'top_k', ParameterValue(
            type=integer, integer_value=0))
        assert not accepted
        assert reason
        accepted, reason = set_parameter(peer, 'model_path', ParameterValue(
            type=string, string_value='other.onnx'))
        assert not accepted
        assert 'clean up' in reason
        assert node.stop(signal.SIGTERM) == 0
    assert 'Traceback' not in node.log


def test_another_type_on_the_topic_is_reported(model, peer):
    peer.listen_to_results()
    with run(model, '-p', 'camera_timeout_sec:=0.0') as node:
        peer.node.create_publisher(CompressedImage, 'image', 1)
        peer.spin_until(
            lambda: 'image_transport' in (peer.status() or {}).get('message', ''), 'a warning')
        assert peer.status()['level'] == '1'
        assert node.stop() == 0
    assert '/image carries sensor_msgs/msg/CompressedImage' in node.log


def test_an_echoed_signal_does_not_kill(model, peer):
    peer.listen_to_results()
    with run(model) as node:
        peer.connect('image')
        node.send(signal.SIGINT)
        node.send(signal.SIGINT)
        assert node.stop() == 0
    assert '0 frames received' in node.log


@pytest.mark.parametrize(('arguments', 'keyword'), [
    (['-p', 'model_path:=/no/such.onnx'], 'no model at /no/such.onnx'),
    (['-p', 'model_path:=""'], 'parameter model_path'),
    (['-p', 'backend:=tensorrtt'], "backend: 'tensorrtt' is unknown"),
    (['-p', 'top_k:=0'], 'top_k: 0 is out of range'),
    (['-p', 'score_threshold:=2.0'], 'score_threshold: 2.0 is out of range'),
    (['-p', 'topk:=1'], 'did you mean top_k?'),
    (['-p', 'max_batch_size:=4'], "'max_batch_size': it is called batch_size now"),
    (['-p', 'top_k:=five'], "top_k: 'five' is not an integer"),
    (['-p', 'max_age_ms:=5'], 'write 5.0'),
    (['-p', 'use_sim_time:=1'], 'use_sim_time: 1 is not true or false: write true'),
    (['-p', 'image_topic:=/cam'], 'remap the topic, --ros-args -r image:=/cam'),
    (['-p', 'engine_path:=a.engine'], 'set model_path to the ONNX model'),
    (['-p', 'cameras:=[front, front]'], 'twice'),
    (['-p', 'cameras:=[front door]'], "'front door'"),
    (['-p', 'cameras:=front'], "cameras: 'front' is not a list"),
    (['-p', 'cameras:=5'], 'cameras: 5 is not a list'),
    (['-p', 'cameras:=[1, 2]'], 'cameras: (1, 2) is not a list'),
    (['-p', 'backend:=simulated', '-p', 'engine_dir:=~no_such_user/engines'],
     "'~no_such_user/engines'"),
    (['-p', f'model_path:={__file__}'], 'not an ONNX file'),
    (['-p', 'backend:=simulated', '-p', 'precision:=int8'],
     'int8 was asked for'),
    (['-p', 'backend:=simulated', '-p', 'tf32:=true'],
     'tf32 is True, which simulated does not use'),
    (['-p', 'backend:=simulated', '-p', 'opt_batch_size:=1'],
     'opt_batch_size is 1, which simulated does not use'),
], ids=lambda value: value[-1] if isinstance(value, list) else None)
def test_bad_input_ends_with_one_message_and_exit_code_2(arguments, keyword):
    with NodeProcess(*arguments) as node:
        assert node.wait() == 2
    assert keyword in node.log
    assert 'Traceback' not in node.log
    assert node.log.count(keyword) == 1


#: Like TensorRT's builder: it works for long in C++ and calls back by functions that are noexcept.
_BUILDER = (
    'typedef int (*Callback)(int);\n'
    'static void step(Callback callback, int count) noexcept { callback(count); }\n'
    'extern "C" void build(Callback callback) {\n'
    '    for (int count = 0;; count++) step(callback, count);\n'
    '}\n')
_BUILD_IN_PLACE_OF_OPENING = (
    'import ctypes, time\n'
    'from resnet_trt_node.backends.simulated import SimulatedBackend\n'
    'def build(self, path, options):\n'
    '    options.log("building")\n'
    '    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)\n'
    '    callback = kind(lambda count: time.sleep(0.001) or 0)\n'
    '    ctypes.CDLL({library!r}).build(callback)\n'
    'SimulatedBackend.__init__ = build\n')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_engine_is_built_ends_the_node_without_a_crash(tmp_path, number):
    (tmp_path / 'builder.cpp').write_text(_BUILDER)
    library = str(tmp_path / 'builder.so')
    subprocess.run(
        ['g++', '-shared', '-fPIC', '-o', library, str(tmp_path / 'builder.cpp')], check=True)
    with NodeProcess('-p', 'backend:=simulated',
                     prepare=_BUILD_IN_PLACE_OF_OPENING.format(library=library)) as node:
        node.wait_for('building')
        code = node.stop(number)
        assert code == 0, node.log
        assert node.ended_by_itself
        assert 'terminate' not in node.log


@pytest.mark.parametrize(('topic', 'override', 'value'), [
    ('/image', 'image.subscription.reliability', 'foo'),
    ('/image', 'image.subscription.reliability', '5'),
    ('/image', 'image.subscription.depth', '-3'),
    ('/classification', 'classification.publisher.depth', '-3'),
    ('/classification', 'classification.publisher.depth', 'x'),
    ('/image_annotated', 'image_annotated.publisher.history', 'foo'),
])
def test_unusable_qos_ends_with_one_message_and_exit_code_2(topic, override, value):
    with NodeProcess(
            '-p', 'backend:=simulated', '-p', f'qos_overrides./{override}:={value}') as node:
        assert node.wait() == 2
    assert 'Traceback' not in node.log
    line, = (line for line in node.log.splitlines() if 'qos_overrides' in line)
    assert f'{topic}: rclpy creates no ' in line
    assert f'qos_overrides./{override} (' in line
    assert 'reliable or best_effort' in line


@pytest.mark.usefixtures('receive')
def test_a_signal_while_frames_flow_loses_none(model, peer):
    peer.listen_to_results()
    with run(model) as node:
        peer.connect('image')
        for number in range(30):
            peer.publish('image', image(flat('cyan', 480, 640), number))
        peer.spin_until(lambda: peer.heard['classification'], 'the first answer')
        code = node.stop()
    assert code == 0, node.log
    assert node.ended_by_itself
    counters = re.search(r'(\d+) frames received, (\d+) answered, dropped: (.*)', node.log)
    received, answered = int(counters[1]), int(counters[2])
    dropped = sum(int(number) for number in re.findall(r'(\d+) \w+', counters[3]))
    assert 1 <= received == answered + dropped
    results = peer.heard['classification']
    peer.spin_until(lambda: len(results) == answered, f'all {answered} answers')
    assert [item.header.stamp.nanosec for item in results] == list(range(answered))
    assert 'Traceback' not in node.log
