"""What given launch arguments ask of the node; runs without the launch packages."""

from pathlib import Path

import pytest

from resnet_trt_node.backends.factory import BACKEND_CHOICES
from resnet_trt_node.errors import UsageError
from resnet_trt_node.launch_support.launch_arguments import (
    classify_arguments, node_settings, NodeSettings, refuse_former_names)


@pytest.fixture
def params_file(tmp_path: Path) -> Path:
    path = tmp_path / 'classify.yaml'
    path.write_text('/**:\n  ros__parameters:\n    top_k: 3\n')
    return path


def settings(installed: Path, **given: str) -> NodeSettings:
    everything = {argument.name: '' for argument in classify_arguments()}
    assert given.keys() <= everything.keys()
    return node_settings({**everything, 'params_file': str(installed), **given})


def test_the_promised_arguments_are_there_and_described():
    assert [argument.name for argument in classify_arguments()] == [
        'namespace', 'params_file', 'model_path', 'backend', 'build_only', 'engine_dir',
        'input', 'image_topic', 'detections_topic', 'cameras', 'image_transport',
        'image_reliability', 'receive', 'batch_size', 'use_sim_time', 'respawn', 'dds_profile',
        'log_level']
    for argument in classify_arguments():
        assert argument.description.endswith('.'), argument.name


def test_build_only_reaches_the_node_as_a_truth_value(params_file):
    given = settings(params_file, build_only='true', engine_dir='~/engines')
    assert given.parameters == {
        'build_only': True, 'engine_dir': str(Path('~/engines').expanduser())}


def test_a_node_that_only_builds_has_one_job_and_is_not_started_anew(params_file):
    assert settings(params_file, build_only='true', respawn='False').one_job
    assert not settings(params_file, build_only='false').one_job
    assert settings(params_file, build_only='false', respawn='True').respawn
    assert not settings(params_file).respawn
    with pytest.raises(UsageError, match='respawn'):
        settings(params_file, build_only='true', respawn='true')


@pytest.mark.parametrize(('text', 'one_job'), [
    ('/**: {ros__parameters: {build_only: true}}', True),
    ('classifier: {ros__parameters: {build_only: Yes}}', True),
    ('/**: {ros__parameters: {build_only: false}}', False),
    ('/car/classifier: {ros__parameters: {build_only: true}}', False),
    ('/**: {ros__parameters: {build_only: true}}\n'
     'classifier: {ros__parameters: {build_only: false}}', False),
    ('/**: {ros__parameters: }', False),
    ('/**: [', False),
])
def test_the_yaml_file_can_give_the_one_job_too(params_file, text, one_job):
    params_file.write_text(text)
    assert settings(params_file).one_job is one_job
    assert not settings(params_file, build_only='false').one_job
    assert settings(params_file, build_only='true').one_job
    if one_job:
        with pytest.raises(UsageError, match='respawn'):
            settings(params_file, respawn='true')


@pytest.mark.parametrize(('namespace', 'surrounding', 'one_job'), [
    ('', '', False), ('car', '', True), ('/car', '/other', True), ('', '/car', True),
    ('arm', '/car', False), ('arm/', '/car/', False)])
def test_the_yaml_file_is_read_for_the_node_where_it_will_be(
        params_file, namespace, surrounding, one_job):
    params_file.write_text('/car/classifier: {ros__parameters: {build_only: true}}')
    given = {argument.name: '' for argument in classify_arguments()}
    given.update(params_file=str(params_file), namespace=namespace)
    assert node_settings(given, surrounding).one_job is one_job


def test_choices_are_those_of_the_node_and_nothing():
    choices = {argument.name: argument.choices for argument in classify_arguments()}
    assert choices['backend'] == ('', *BACKEND_CHOICES)
    assert choices['image_transport'] == ('', 'raw', 'compressed', 'ffmpeg', 'foxglove')
    assert choices['input'] == ('', 'image', 'regions')
    # launch would refuse True where true is a choice, and INFO where info is.
    assert choices['use_sim_time'] == choices['build_only'] == choices['log_level'] == ()
    assert choices['model_path'] == ()


def test_arguments_that_are_not_given_change_nothing(params_file):
    assert settings(params_file) == NodeSettings(
        params_file=params_file, namespace='', parameters={}, remappings=[], ros_arguments=[],
        respawn=False, one_job=False)


@pytest.mark.parametrize(('name', 'text', 'value'), [
    ('model_path', '/models/resnet50.onnx', '/models/resnet50.onnx'),
    ('model_path', 'off', 'off'),
    ('backend', 'simulated', 'simulated'),
    ('input', 'regions', 'regions'),
    ('image_transport', 'compressed', 'compressed'),
    ('image_reliability', 'reliable', 'reliable'),
    ('receive', 'message', 'message'),
    ('batch_size', '6', 6),
    ('cameras', 'front', ['front']),
    ('cameras', 'front, left,rear/right', ['front', 'left', 'rear/right']),
    ('use_sim_time', 'true', True),
    ('use_sim_time', 'false', False),
    *((flag, text, value) for flag in ('use_sim_time', 'build_only') for text, value in (
        ('True', True), ('TRUE', True), ('1', True), (' true ', True), ('False', False),
        ('0', False))),
])
def test_a_given_argument_becomes_one_parameter_of_its_type(params_file, name, text, value):
    parameters = settings(params_file, **{name: text}).parameters
    assert parameters == {name: value}
    assert type(parameters[name]) is type(value)


def test_the_home_folder_is_expanded(params_file, monkeypatch):
    monkeypatch.setenv('HOME', str(params_file.parent))
    result = settings(params_file, model_path='~/m.onnx', params_file='~/classify.yaml')
    assert result.parameters == {'model_path': str(params_file.parent / 'm.onnx')}
    assert result.params_file == params_file


@pytest.mark.parametrize('level', ['debug', 'INFO', 'car.classifier:=debug'])
def test_namespace_and_log_level_are_no_parameters(params_file, level):
    result = settings(params_file, namespace='/car/front', log_level=level)
    assert result.namespace == '/car/front'
    assert result.ros_arguments == ['--log-level', level]
    assert result.parameters == {}


@pytest.mark.parametrize('topic', [
    '/camera/image_raw', '/camera/image_raw/compressed', '/camera/image_raw/ffmpeg',
    '/camera/image_raw/foxglove'])
def test_image_topic_renames_all_transports(params_file, topic):
    # The transport may stand in the YAML file, which the launch does not read.
    assert settings(params_file, image_topic=topic).remappings == [
        ('image', '/camera/image_raw'),
        ('image/compressed', '/camera/image_raw/compressed'),
        ('image/ffmpeg', '/camera/image_raw/ffmpeg'),
        ('image/foxglove', '/camera/image_raw/foxglove')]


def test_each_camera_has_its_image_topic(params_file):
    result = settings(params_file, cameras='front,left', image_topic='/a/image,cam1/image_raw')
    assert result.remappings == [
        ('front/image', '/a/image'), ('front/image/compressed', '/a/image/compressed'),
        ('front/image/ffmpeg', '/a/image/ffmpeg'),
        ('front/image/foxglove', '/a/image/foxglove'), ('left/image', 'cam1/image_raw'),
        ('left/image/compressed', 'cam1/image_raw/compressed'),
        ('left/image/ffmpeg', 'cam1/image_raw/ffmpeg'),
        ('left/image/foxglove', 'cam1/image_raw/foxglove')]


def test_each_camera_has_its_detections(params_file):
    assert settings(params_file, detections_topic='/yolo/detections').remappings == [
        ('detections', '/yolo/detections')]
    assert settings(
        params_file, cameras='front,left', image_topic='/a/image,/b/image',
        detections_topic='/a/boxes, b/boxes').remappings[-3:] == [
        ('left/image/foxglove', '/b/image/foxglove'), ('front/detections', '/a/boxes'),
        ('left/detections', 'b/boxes')]


@pytest.mark.parametrize(('given', 'keyword'), [
    ({'backend': 'cuda'}, "backend: 'cuda'"),
    ({'image_transport': 'theora'}, "image_transport: 'theora'"),
    ({'batch_size': 'many'}, "batch_size: 'many'"),
    ({'batch_size': '2.0'}, "batch_size: '2.0'"),
    ({'batch_size': '0'}, 'batch_size: 0 is out of range'),
    ({'use_sim_time': 'yes'}, "use_sim_time: 'yes'"),
    ({'build_only': '2'}, "build_only: '2'"),
    ({'log_level': 'loud'}, "log_level: 'loud'"),
    ({'cameras': 'front,,left'}, "cameras: 'front,,left'"),
    ({'cameras': 'front,front'}, 'cameras: front, front'),
    ({'cameras': '1st'}, "cameras: '1st'"),
    ({'cameras': 'x,y'}, "cameras: .*'y'"),
    ({'cameras': 'Nan'}, "cameras: .*'Nan'"),
    ({'image_topic': '/a b'}, "image_topic: '/a b'"),
    ({'image_topic': '/a/1b'}, "image_topic: '/a/1b'"),
    ({'image_topic': '/a,/b'}, 'image_topic: 2 topics'),
    ({'image_topic': '/a', 'cameras': 'front,left'}, 'image_topic: 1 topics'),
    ({'input': 'region'}, "input: 'region'"),
    ({'detections_topic': '/a b'}, "detections_topic: '/a b'"),
    ({'detections_topic': '/a,/b'}, 'detections_topic: 2 topics for 0 cameras'),
    ({'detections_topic': '/a', 'cameras': 'front,left'}, 'detections_topic: 1 topics for 2'),
    ({'params_file': '/nowhere/p.yaml'}, "params_file: .*'/nowhere/p.yaml'"),
    ({'params_file': '~no_such_user/p.yaml'}, 'params_file: .*home .*~no_such_user/p'),
    ({'engine_dir': '~no_such_user/e'}, 'engine_dir: .*home .*~no_such_user/e'),
    ({'params_file': ''}, "params_file: .*''"),
])
def test_unusable_values_are_refused_by_name(params_file, given, keyword):
    with pytest.raises(UsageError, match=f'^{keyword}'):
        settings(params_file, **given)


def test_a_former_name_is_answered_with_the_present_one():
    with pytest.raises(UsageError, match="'max_batch_size': it is called batch_size now"):
        refuse_former_names({'max_batch_size': '4', 'batch_size': ''})


@pytest.mark.parametrize('configurations', [
    {'batch_size': '4'},
    # An argument of the launch file that includes ours, which hands it on.
    {'max_batch_size': '4', 'batch_size': '4'},
    # No launch argument by either name: it is none of ours.
    {'device_id': '1'},
])
def test_what_is_no_former_name_of_an_argument_is_let_through(configurations):
    refuse_former_names(configurations)
