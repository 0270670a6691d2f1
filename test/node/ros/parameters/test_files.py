"""Parameter files for other nodes: warned of once, by the rules that rcl matches names with."""

from __future__ import annotations

import json
import os

from nodes.node_process import NodeProcess
import pytest
import rclpy
from rclpy.node import Node
from resnet_trt_node.node.ros.parameters.files import is_for, params_files, sections_of

pytestmark = pytest.mark.slow

SECTIONS = (
    '/**', '/*', 'classifier', '/classifier', 'car/classifier', '/car/classifier', '/car/*',
    '/*/classifier', '/**/classifier', '**/classifier', '*/classifier', '/car/**', '**', '*',
    'Classifier', '/car/**/classifier', '/x/**/classifier', '/car/b/*', 'clasifier')


def given_by_rcl(path, namespace, sections):
    """Return the sections that rcl itself takes a parameter from."""
    path.write_text(json.dumps({
        name: {'ros__parameters': {f'p{number}': 1}} for number, name in enumerate(sections)}))
    context = rclpy.Context()
    rclpy.init(context=context, args=[
        '--ros-args', '--params-file', str(path), '-r', f'__ns:={namespace}'])
    node = Node('classifier', context=context, enable_rosout=False,
                start_parameter_services=False,
                automatically_declare_parameters_from_overrides=True)
    found = {name for number, name in enumerate(sections) if node.has_parameter(f'p{number}')}
    node.destroy_node()
    rclpy.shutdown(context=context)
    return found


@pytest.mark.parametrize('namespace', ['/', '/car', '/car/b'])
def test_sections_are_matched_as_rcl_matches_them(tmp_path, namespace):
    node = f'{namespace.rstrip("/")}/classifier'
    found = given_by_rcl(tmp_path / 'p.yaml', namespace, SECTIONS)
    if '/*/classifier' not in found and namespace == '/car':
        pytest.skip('this rclpy knows no wildcards within names')
    assert {name for name in SECTIONS if is_for(name, node)} == found


def test_a_dot_in_a_section_is_no_pattern():
    assert not is_for('/c.assifier', '/classifier')


@pytest.mark.parametrize(('text', 'names'), [
    ('car:\n  classifier:\n    ros__parameters: {top_k: 2}\n/**:\n  ros__parameters: {a: 1}\n',
     ['car/classifier', '/**']),
    ('a: {ros__parameters: {when: 2001-99-99}}\n---\nb: {ros__parameters: {x: 1}}\n',
     ['a', 'b']),
    ('', []), ('- 1\n- 2\n', []), ('just text', []),
])
def test_sections_of_a_file(tmp_path, text, names):
    (tmp_path / 'p.yaml').write_text(text)
    assert [name for name, _ in sections_of(tmp_path / 'p.yaml')] == names


def test_files_of_a_command_line():
    words = ['--params-file', 'no', '--ros-args', '--params-file', 'a', '-p', 'x:=1',
             '--params-file', 'b', '--', '--params-file', 'no', '--ros-args', '--params-file', 'c',
             '--params-file']
    assert [str(path) for path in params_files(words)] == ['a', 'b', 'c', '.']


def test_the_node_names_the_sections_and_itself_once(tmp_path):
    files = {}
    for name, text in {
            'other': 'clasifier:\n  ros__parameters:\n    top_k: 2\n',
            'namespace': 'classifier:\n  ros__parameters:\n    top_k: 2\n',
            'many': ''.join(f'n{number}: {{ros__parameters: {{a: 1}}}}\n' for number in range(8)),
            'mine': 'other: {ros__parameters: {a: 1}}\ncar: {classifier: {ros__parameters: '
                    '{top_k: 3}}}\n',
            'any': '/**:\n  ros__parameters:\n    backend: simulated\n',
            'empty': ''}.items():
        files[name] = tmp_path / f'{name}.yaml'
        files[name].write_text(text)
    words = [word for file in files.values() for word in ('--params-file', str(file))]
    with NodeProcess(*words, '-r', '__ns:=/car') as node:
        node.wait_for('active, listening')
        assert node.stop() == 0
    lines_of = {name: [line for line in node.log.split('\n') if str(file) in line]
                for name, file in files.items()}
    assert {name: len(lines) for name, lines in lines_of.items()} == {
        'other': 1, 'namespace': 1, 'many': 1, 'mine': 0, 'any': 0, 'empty': 0}
    assert 'clasifier' in lines_of['other'][0]
    assert '/car/classifier' in lines_of['other'][0]
    assert 'n0, n1, n2, n3, n4 and 3 more' in lines_of['many'][0]


def test_a_file_that_is_a_pipe_is_left_to_rcl(tmp_path):
    """`--params-file <(...)` of a shell can be read once."""
    reading, writing = os.pipe()
    os.write(writing, b'other:\n  ros__parameters:\n    top_k: 2\n')
    os.close(writing)
    path = f'/proc/{os.getpid()}/fd/{reading}'
    with NodeProcess('--params-file', path, '-p', 'backend:=simulated') as node:
        node.wait_for('active, listening')
        assert node.stop() == 0
    os.close(reading)
    assert 'has no effect' not in node.log
