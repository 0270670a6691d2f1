"""The how-to pages say what the node does: keys, parameters, commands and links."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
import json
import re
import shlex
import sys

from documentation.page_commands import end, running
from documentation.pages import dead_links, section
from models.tiny_model import write_tiny_model
import pytest
from repository import REPOSITORY
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.node.monitoring.report import Statistics, TopicState
from resnet_trt_node.node.pipeline.counters import CAMERA_EVENTS, DROP_REASONS
from resnet_trt_node.node.pipeline.pipeline import Pipeline
from resnet_trt_node.node.pipeline.settings import LiveSettings, PipelineHooks
from resnet_trt_node.node.pipeline.stage_times import STAGES
from resnet_trt_node.node.pipeline.work import WholeFrames
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields
from resnet_trt_node.node.ros.topics.arrivals import ArrivalRates

HOW_TO = REPOSITORY / 'docs' / 'how-to'
PAGES = ('many-cameras.md', 'diagnostics.md', 'wait-and-batch.md', 'regions.md')


def commands(page: str) -> list[str]:
    blocks = re.findall(r'```sh\n(.*?)```', (HOW_TO / page).read_text(), re.DOTALL)
    return [line for block in blocks
            for line in block.replace('\\\n', ' ').strip().splitlines()]


NODES = [line for page in PAGES for line in commands(page) if line.startswith('classifier_node')]


def test_commands_are_those_that_are_tried():
    words = {line.split()[0] for page in PAGES for line in commands(page)}
    assert words == {'classifier_node', 'resnet_trt'}
    assert len(NODES) == 4


@pytest.mark.slow
@pytest.mark.parametrize('command', NODES)
def test_a_node_starts_as_it_stands_and_top_shows_it(command, tmp_path):
    (tmp_path / 'models').mkdir()
    write_tiny_model(tmp_path / 'models' / 'resnet50.onnx')
    tops = [line for page in PAGES for line in commands(page)
            if line.startswith('resnet_trt top') and ('--once' in line or '--json' in line)]
    assert tops
    with running(command, tmp_path) as node:
        for top in tops if command == NODES[0] else tops[:1]:
            with running(f'{top} --wait 20', tmp_path) as shown:
                out, _ = shown.communicate(timeout=300)
            assert shown.returncode == 0, out
            assert '/classifier' in out
        end(node)


@pytest.mark.parametrize('page', ['README.md', 'docs/accuracy.md', 'docs/how-to/regions.md'])
def test_the_answers_of_the_node_are_promised_with_their_condition(page):
    path = REPOSITORY / page
    text = path.read_text(encoding='utf-8')
    link = r'offline-tools\.md#the-same-answers-as-the-node'
    assert re.search(rf'`--resize-method exact`.{{,150}}{link}', text, re.DOTALL), page
    assert dead_links(path) == []


def first_cells(text):
    """Return what is in the first cells of the tables of a text, such as keys."""
    return {name for row in re.findall(r'^\| (.*?) \|', text, re.MULTILINE)
            for name in re.findall(r'`([a-z_0-9*]+)`', row)}


def test_every_key_is_explained(make_report):
    text = (HOW_TO / 'diagnostics.md').read_text()
    of_node, of_camera = (
        first_cells(section(text, title)) for title in ('Node keys', 'Camera keys'))
    report = make_report()
    keys = {*report.values, *(f'{stage}_p50_ms' for stage in STAGES)}
    assert {key for key in keys if not any(
        re.fullmatch(name.replace('*', '.*'), key) for name in of_node)} == set()
    # Counters and rates of a camera are those of the node, or have a row of their own.
    counters = {'received', 'answered', 'in_progress', 'received_hz', 'answered_hz'}
    assert counters <= of_node
    found = {*report.cameras['front'].values}
    assert {'preprocess', 'decode', 'receive_extra_buffers', 'video_codec'} <= found
    assert {key for key in found - counters if not any(
        re.fullmatch(name.replace('*', '.*'), key) for name in of_camera)} == set()
    schema = json.loads((REPOSITORY / 'docs/reference/schemas/top.json').read_text())
    nodes = schema['properties']['nodes']['additionalProperties']['properties']
    described = nodes['cameras']['additionalProperties']['properties']
    # Those of greenwave_monitor are its own.
    assert {key for key in found - {*described} if key[:10] != 'frame_rate'} == {
        'current_delay_from_realtime_ms'}
    for reason in DROP_REASONS:
        assert f'| `dropped_{reason}` |' in text
    for event in CAMERA_EVENTS:
        assert f'| `{event}` |' in text


@pytest.fixture
def make_report():
    pipelines = []

    def make():
        pipeline = Pipeline(('front',), 1, WholeFrames('fast'), LiveSettings(), PipelineHooks(
            lambda: SimulatedBackend('', SimulatedOptions(simulated_ms=0.0)),
            lambda message: Frame(message, 'rgb'), lambda *_: None, lambda *_: None,
            lambda *_: None))
        pipelines.append(pipeline)
        pipeline.start()
        # As after an answer, with all that a camera may have.
        pipeline.paths['front'] = 'jpeg'
        return Statistics().report(
            pipeline, {'front': TopicState(
                '/front/image', 0, 0, arrivals=ArrivalRates(1.0, 1.0, 1.0), codec='h264',
                extra_buffers=1)},
            NodeParameters(image_transport='compressed'))

    yield make
    for pipeline in pipelines:
        assert pipeline.close()


def test_parameters_that_are_named_exist():
    known = set(parameter_fields())
    named = set()
    for page in PAGES:
        text = (HOW_TO / page).read_text()
        named |= set(re.findall(r'-p (\w+):=', text))
        named |= {word for word in re.findall(r'`(\w+_(?:ms|sec|ratio|size|depth|attempts|'
                                              r'failures|every|reliability|transport))`', text)
                  if not re.search(r'_p\d\d_ms$|^mean_batch', word)}
    # Keys of the diagnostics, with the unit-like ending of a parameter.
    assert named - known == {
        'lost_in_transport', 'current_delay_from_realtime_ms', 'max_batch_size'}
    assert {'max_wait_ms', 'camera_timeout_sec', 'warn_drop_ratio'} <= named


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r'\]\((?!http)([^)#]+)', (HOW_TO / page).read_text()):
            assert (HOW_TO / link).exists(), f'{page}: {link}'


def test_the_foxglove_layout_is_whole():
    layout = json.loads((REPOSITORY / 'config' / 'foxglove_layout.json').read_text())

    def panels(tree):
        if isinstance(tree, str):
            return [tree]
        assert tree['direction'] in ('row', 'column')
        return panels(tree['first']) + panels(tree['second'])

    shown = panels(layout['layout'])
    assert sorted(shown) == sorted(layout['configById'])
    assert {panel.split('!')[0] for panel in shown} == {
        'Image', 'RawMessages', 'Plot', 'DiagnosticSummary', 'DiagnosticStatusPanel'}
    text = json.dumps(layout)
    for topic in ('/image_annotated', '/classification', '/diagnostics'):
        assert topic in text


def test_the_largest_batch_is_the_one_that_an_engine_is_built_for():
    text = ' '.join((HOW_TO / 'gpu.md').read_text().split())
    six = NodeParameters(cameras=tuple('abcdef')).batch_limit
    assert f'so {six} for six cameras and {NodeParameters().batch_limit}, the default' in text
    regions = NodeParameters(input='regions').batch_limit
    assert f'With `input: regions` it is `batch_size`, {regions} by default.' in text


@pytest.mark.parametrize('tool', ['try_jpeg', 'try_resize'])
def test_gpu_tools_are_called_with_the_arguments_that_they_take(tool, monkeypatch):
    text = (HOW_TO / 'gpu.md').read_text()
    command, = re.findall(rf'^    .*python3 (-m tools\.gpu\.{tool} .*)', text, re.MULTILINE)
    _, name, *arguments = shlex.split(command)
    parse = ArgumentParser.parse_args

    class Parsed(Exception):
        pass

    def stop(parser, given=None):
        parse(parser, given)
        raise Parsed
    monkeypatch.setattr(ArgumentParser, 'parse_args', stop)
    monkeypatch.setattr(sys, 'argv', [name, *arguments])
    with pytest.raises(Parsed):
        import_module(name).main()
