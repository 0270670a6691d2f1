"""The launch files run by the real launch packages, with a stand-in for the node."""

import json
import os
from pathlib import Path
import sys

import pytest

from resnet_trt_node.launch_support.launch_arguments import classify_arguments

LAUNCH_FOLDER = Path(__file__).parents[2] / 'launch'
CLASSIFY = LAUNCH_FOLDER / 'classify.launch.py'
STAND_IN = Path(__file__).parents[1] / 'helpers' / 'stand_ins' / 'stand_in_node.py'

try:
    import launch
    from launch.launch_description_sources import (
        AnyLaunchDescriptionSource, PythonLaunchDescriptionSource)
    import launch_ros.actions  # noqa: F401
except ImportError:
    launch = None
needs_launch = pytest.mark.skipif(launch is None, reason=(
    'launch and launch_ros are not installed: they have no wheels; source a ROS 2'))

# The specific section would win over one for all nodes, so the arguments must beat both.
YAML = {
    '/**': {'ros__parameters': {
        'model_path': 'yaml.onnx', 'backend': 'onnxruntime', 'batch_size': 3}},
    'classifier': {'ros__parameters': {
        'cameras': ['left', 'right'], 'image_transport': 'compressed', 'use_sim_time': True}}}
IN_YAML = {
    name: value for section in YAML.values() for name, value in section['ros__parameters'].items()}


@pytest.mark.parametrize('path', sorted(LAUNCH_FOLDER.glob('*.launch.py')), ids=lambda p: p.name)
def test_launch_files_compile(path):
    compile(path.read_text(), str(path), 'exec')


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """Return an installation of the package in which a stand-in takes the node's place."""
    root = tmp_path / 'prefix'
    marker = root / 'share/ament_index/resource_index/packages/resnet_trt_node'
    config = root / 'share/resnet_trt_node/config/classify.yaml'
    node = root / 'lib/resnet_trt_node/classifier_node'
    for file, text in (
            (marker, ''), (config, json.dumps(YAML)),
            (node, f'#!{sys.executable}\n{STAND_IN.read_text()}')):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    node.chmod(0o755)
    installed = os.environ.get('AMENT_PREFIX_PATH')
    monkeypatch.setenv(
        'AMENT_PREFIX_PATH', str(root) + (os.pathsep + installed if installed else ''))
    monkeypatch.setenv('STAND_IN_REPORT', str(root / 'report.json'))
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    # launch leaves the parameter files that it hands to nodes in the folder for temporary files.
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    return root


def launch_file(path, **given):
    """Run a launch file until its nodes have ended and return launch's exit code."""
    service = launch.LaunchService(noninteractive=True)
    service.include_launch_description(launch.LaunchDescription([
        launch.actions.IncludeLaunchDescription(
            AnyLaunchDescriptionSource(str(path)), launch_arguments=given.items())]))
    return service.run()


def launch_classify(**given):
    return launch_file(CLASSIFY, **given)


def report_of(prefix, **given):
    assert launch_classify(**given) == 0
    return json.loads((prefix / 'report.json').read_text())


@needs_launch
def test_arguments_are_declared_at_the_top_with_description_default_and_choices(prefix):
    description = PythonLaunchDescriptionSource(str(CLASSIFY)).get_launch_description(
        launch.LaunchContext())
    declared = {
        argument.name: argument for argument in description.get_launch_arguments()}
    assert list(declared) == [argument.name for argument in classify_arguments()]
    context = launch.LaunchContext()
    for argument in classify_arguments():
        action = declared[argument.name]
        default = launch.utilities.perform_substitutions(context, action.default_value)
        assert action.description.startswith(argument.description)
        assert tuple(action.choices or ()) == argument.choices
        assert default == (
            str(prefix / 'share/resnet_trt_node/config/classify.yaml')
            if argument.name == 'params_file' else '')


@needs_launch
def test_without_arguments_the_yaml_file_decides(prefix):
    report = report_of(prefix)
    assert report['name'] == '/classifier'
    assert IN_YAML.items() <= report['parameters'].items()
    assert report['topics'] == ['/image', '/image/compressed', '/front/image', '/classification']
    assert report['log_level'] == 'INFO'


@needs_launch
@pytest.mark.parametrize(('name', 'text', 'value'), [
    ('model_path', '1.5', '1.5'),
    ('backend', 'simulated', 'simulated'),
    ('batch_size', '7', 7),
    ('cameras', 'off,on', ['off', 'on']),
    ('image_transport', 'raw', 'raw'),
    ('use_sim_time', 'False', False),
    ('build_only', 'True', True),
])
def test_a_given_argument_wins_over_the_yaml_file_and_shadows_nothing_else(
        prefix, name, text, value):
    parameters = report_of(prefix, **{name: text})['parameters']
    assert {**IN_YAML, name: value}.items() <= parameters.items()


@needs_launch
@pytest.mark.parametrize('code', [1, 2, 3])
def test_a_launch_that_is_to_build_fails_with_the_node(prefix, monkeypatch, caplog, code):
    monkeypatch.setenv('STAND_IN_EXIT_CODE', str(code))
    assert launch_classify(build_only='true') == 1
    assert f'exit code {code}' in caplog.text
    # A robot may go on without its classifier.
    assert launch_classify(build_only='false') == 0


@needs_launch
@pytest.mark.parametrize('namespace', ['', 'car'])
def test_a_yaml_file_that_is_to_build_fails_with_the_node_too(
        prefix, monkeypatch, tmp_path, namespace):
    params = tmp_path / 'build.yaml'
    params.write_text(
        f'/{namespace}/classifier:\n'.replace('//', '/')
        + '  ros__parameters:\n    build_only: true\n')
    given = {'params_file': str(params), 'namespace': namespace}
    assert launch_classify(**given) == 0
    monkeypatch.setenv('STAND_IN_EXIT_CODE', '2')
    assert launch_classify(**given) == 1
    assert launch_classify(**given, build_only='false') == 0


@needs_launch
def test_namespace_topic_and_log_level_reach_the_node(prefix):
    report = report_of(
        prefix, namespace='car', image_topic='/camera/image_raw', log_level='ERROR',
        batch_size='2')
    assert report['name'] == '/car/classifier'
    assert report['topics'] == [
        '/camera/image_raw', '/camera/image_raw/compressed', '/car/front/image',
        '/car/classification']
    assert report['log_level'] == 'ERROR'
    assert report['parameters']['batch_size'] == 2


# One file of each language that includes ours in a namespace, with arguments.
GIVEN = {
    'namespace': 'car', 'cameras': 'front,left', 'use_sim_time': 'False', 'batch_size': '2'}
INCLUDES = {
    'robot.launch.py': (
        'from launch import LaunchDescription\n'
        'from launch.actions import GroupAction, IncludeLaunchDescription\n'
        'from launch_ros.actions import PushRosNamespace\n'
        'def generate_launch_description():\n'
        '    return LaunchDescription([GroupAction([\n'
        '        PushRosNamespace("robot"), IncludeLaunchDescription(\n'
        f'            "FILE", launch_arguments={GIVEN}.items())])])\n'),
    'robot.launch.xml': (
        '<launch><group><push-ros-namespace namespace="robot"/><include file="FILE">\n'
        + '\n'.join(f'<arg name="{name}" value="{value}"/>' for name, value in GIVEN.items())
        + '</include></group></launch>\n'),
    'robot.launch.yaml': json.dumps({'launch': [{'group': [
        {'push_ros_namespace': {'namespace': 'robot'}},
        {'include': {'file': 'FILE', 'arg': [
            {'name': name, 'value': value} for name, value in GIVEN.items()]}}]}]})}


@needs_launch
@pytest.mark.parametrize('name', INCLUDES)
def test_it_can_be_included_from_every_language_in_a_namespace(prefix, tmp_path, name):
    if not name.endswith('py'):
        pytest.importorskip(f'launch_{name.rpartition(".")[2]}')
    including = tmp_path / name
    including.write_text(INCLUDES[name].replace('FILE', str(CLASSIFY)))
    assert launch_file(including) == 0
    report = json.loads((prefix / 'report.json').read_text())
    assert report['name'] == '/robot/car/classifier'
    assert report['topics'][2] == '/robot/car/front/image'
    assert {'cameras': ['front', 'left'], 'use_sim_time': False,
            'batch_size': 2}.items() <= report['parameters'].items()


@needs_launch
def test_the_topic_of_one_of_several_cameras_reaches_the_node(prefix):
    report = report_of(prefix, cameras='front,left', image_topic='/a/image,/b/image')
    assert report['topics'][2] == '/a/image'


@needs_launch
def test_the_dds_profile_reaches_the_node_and_nothing_does_without_it(prefix, monkeypatch):
    monkeypatch.delenv('RMW_IMPLEMENTATION', raising=False)
    for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)
    assert report_of(prefix)['profiles'] == {}
    installed = prefix / 'share/resnet_trt_node/config/fastdds_large_images_receiver.xml'
    installed.write_text((LAUNCH_FOLDER.parent / 'config' / installed.name).read_text())
    profiles = report_of(prefix, dds_profile='large_images')['profiles']
    assert list(profiles.values()) == [str(installed)]


@needs_launch
def test_another_params_file_takes_the_place_of_the_installed_one(prefix, tmp_path):
    other = tmp_path / 'other.yaml'
    other.write_text('/**:\n  ros__parameters:\n    top_k: 1\n')
    parameters = report_of(prefix, params_file=str(other))['parameters']
    assert parameters['top_k'] == 1
    assert 'model_path' not in parameters


@needs_launch
@pytest.mark.parametrize(('name', 'text', 'message'), [
    ('backend', 'cuda', 'value "cuda"'),
    ('image_transport', 'theora', 'value "theora"'),
    ('use_sim_time', 'maybe', "use_sim_time: 'maybe'"),
    ('log_level', 'loud', "log_level: 'loud' is unknown"),
    ('batch_size', '0', 'batch_size: 0'),
    ('cameras', 'a,,b', "cameras: 'a,,b'"),
    ('respawn', 'often', "respawn: 'often'"),
    ('params_file', '/nowhere.yaml', "no file '/nowhere.yaml'"),
    ('dds_profile', '/nowhere.xml', "no file '/nowhere.xml'"),
    ('max_batch_size', '4', 'it is called batch_size now'),
])
def test_an_unusable_argument_ends_the_launch_before_the_node_starts(
        prefix, caplog, name, text, message):
    assert launch_classify(**{name: text}) == 1
    assert message in caplog.text
    assert not (prefix / 'report.json').exists()
