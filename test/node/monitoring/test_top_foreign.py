"""What others publish, on the way through `resnet_trt top`, diagnostics and messages."""

from __future__ import annotations

from array import array
import io
import json
import random
import re
from time import monotonic
from types import SimpleNamespace
import unicodedata

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import pytest
from resnet_trt_node.cli.robot.top import view
from resnet_trt_node.cli.support.console import print_json
from resnet_trt_node.errors import FrameError, ModelError
from resnet_trt_node.imaging.raw.encodings import check_image
from resnet_trt_node.node.monitoring.diagnostics import diagnostic_array
from resnet_trt_node.node.monitoring.health import Level
from resnet_trt_node.node.monitoring.listener import DiagnosticsListener, reports
from resnet_trt_node.node.monitoring.report import Report
from rich.cells import cell_len
from rich.console import Console

pytestmark = pytest.mark.slow

NODE_KEYS = (
    'backend', 'model', 'precision', 'device', 'state', 'max_batch_size', 'mean_batch_size',
    'batch_sizes', 'retried_batches', 'failed_batches', 'reopened_backends', 'total_p50_ms',
    'total_p95_ms', 'total_p99_ms', 'infer_p50_ms', 'level', 'message', 'cameras')
CAMERA_KEYS = (
    'image_topic', 'received_hz', 'answered_hz', 'received', 'answered', 'in_progress',
    'lost_in_transport', 'dropped_superseded', 'dropped_stale', 'dropped_malformed',
    'dropped_failed', 'dropped_refused')
TEXTS = (
    '', '0', '3', '-1', '1.5', 'nan', 'inf', '-inf', '1e999', '9' * 5000, '0x10', 'None', 'true',
    '[/]', '[red]x', '[/bold', '\x1b[2J\x1b]0;title\x07', '\x9b2J', 'a\nb\r\tc\0', '\u202eabc',
    'x' * 100_000, '猫', '\ud800', '{}', '%s', '\\')


def status(
        name: str, level: int = 0, message: str = 'm', /, **values: str) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=name, level=bytes([level]), message=message,
        values=[KeyValue(key=key, value=value) for key, value in values.items()])


def shown(found: dict[str, Report], width: int = 100) -> str:
    """Return what a terminal gets, after both forms were asked for."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(view({name: (report, monotonic()) for name, report in found.items()}))
    return console.file.getvalue()


def assert_harmless(text: str) -> None:
    text.encode('utf-8')
    wrong = {letter for letter in text.replace('\n', '')
             if unicodedata.category(letter) in ('Cc', 'Cs') or letter == '\u202e'}
    assert not wrong


def test_any_status_that_looks_like_ours_is_shown(capsys):
    choose = random.Random(3)
    for _ in range(150):
        statuses = []
        for _ in range(choose.randrange(6)):
            node = choose.choice(('/a', '/b', *TEXTS))
            part = choose.choice(('classifier', 'camera', f'camera {choose.choice(TEXTS)}', 'x'))
            keys = NODE_KEYS if part == 'classifier' else CAMERA_KEYS
            statuses.append(status(
                f'{node}: {part}', choose.randrange(256), choose.choice(TEXTS), **{
                    key: choose.choice(TEXTS) for key in keys if choose.random() < 0.8}))
        found = reports(SimpleNamespace(status=statuses))
        text = shown(found)
        assert_harmless(text)
        print_json('top', {'nodes': {
            name: report.as_json() for name, report in found.items()}})
        document = capsys.readouterr().out
        assert_harmless(document)
        assert list(json.loads(document, parse_constant=pytest.fail)['nodes']) == list(found)


def test_names_are_no_markup():
    array_ = DiagnosticArray(status=[
        status('/[red]a: classifier', backend='[/]', state='[bold]'),
        status('/[red]a: camera [/]', image_topic='[/]', received='[link]')])
    text = shown(reports(array_))
    assert '/[red]a' in text
    assert '[/] ? on' not in text
    assert '? ? on [/]' in text
    assert '[link]' in text


def test_what_is_missing_is_a_question_mark():
    text = shown(reports(DiagnosticArray(status=[
        status('/a: classifier', backend='b', total_p50_ms='fast'),
        status('/a: camera', 2)])))
    assert '? ? on b, ?; ?, batches up to ?' in text
    assert 'ERROR  ?: m' in text
    assert 'receive to publish' in text
    assert 'fast' in text


def test_numbers_that_are_none_stay_text():
    values = reports(DiagnosticArray(status=[status(
        '/a: classifier', a='nan', b='inf', c='9' * 400, d='7', e='0.5', f='1e3')])
    )['/a'].values
    assert values == {'a': 'nan', 'b': 'inf', 'c': '9' * 400, 'd': 7, 'e': 0.5, 'f': 1000.0}


def test_thousands_of_nodes_and_cameras_are_counted_not_listed():
    statuses = [status(f'/n{number}: classifier') for number in range(2500)]
    statuses += [status('/n0: classifier', backend='b'), *(
        status(f'/n0: camera c{number}', 2) for number in range(3000))]
    found = reports(DiagnosticArray(status=statuses))
    assert len(found['/n0'].cameras) == 3000
    text = shown(found)
    assert 'and 2900 more cameras' in text
    assert '2980 more cameras' in text
    assert 'and 2480 more nodes' in text
    assert len(text.splitlines()) < 300


def test_a_listener_keeps_a_bounded_number_of_nodes():
    with DiagnosticsListener() as listener:
        for number in range(0, 3000, 100):
            listener._take(DiagnosticArray(status=[
                status(f'/n{name}: classifier') for name in range(number, number + 100)]))
        assert len(listener.heard) == 1000
        assert '/n2999' in listener.heard
        assert '/n1999' not in listener.heard
    with DiagnosticsListener('wanted') as listener:
        listener._take(DiagnosticArray(status=[
            status(f'/n\x1b{number:04}: classifier') for number in range(3000)]))
        message = listener._nothing(1.0)
    assert message.endswith(r'/n\x1b0008, /n\x1b0009 and 990 more')


def test_a_status_is_short_and_plain_whatever_a_camera_or_model_sends():
    report = Report(Level.WARN, 'no such encoding \x1b[2J' + 'x' * 400_000, {
        'model': 'net\nwork', 'engine': 'y' * 400_000, 'received': 3})
    [found] = diagnostic_array(
        DiagnosticArray().header.stamp, '/classifier', 'GPU\x07', report).status
    assert found.message == r'no such encoding \x1b[2J' + 'x' * 1979 + '... (400021 characters)'
    assert found.hardware_id == r'GPU\x07'
    values = {item.key: item.value for item in found.values}
    assert values == {
        'model': r'net\nwork', 'engine': 'y' * 2000 + '... (400000 characters)', 'received': '3'}


def test_an_error_quotes_an_encoding_in_short_and_still_advises():
    message = SimpleNamespace(
        height=1, width=1, step=3, encoding='\x1b[2J' * 100_000, is_bigendian=0,
        data=array('B', bytes(3)))
    with pytest.raises(FrameError) as caught:
        check_image(message)
    assert '\x1b' not in str(caught.value)
    assert 'use one of rgb8' in str(caught.value)
    assert len(str(caught.value)) < 800


def test_any_error_of_this_package_can_be_shown():
    error = ModelError('class \x1b[2J\udce9 is twice\nthere' + 'x' * 10_000)
    assert str(error).startswith(r'class \x1b[2J\udce9 is twice\nthere')
    assert str(error).endswith('... (10026 characters)')


def test_no_word_is_broken_on_a_terminal_of_80_columns():
    long = 'a_very_long_name_of_a_robot/' * 8
    found = reports(DiagnosticArray(status=[
        status(f'/{long}: classifier', 1, f'{long} and some words about it, {long}',
               backend=f'tensorrt {long}', model=long, precision='fp16', device='猫' * 100,
               state='active', max_batch_size='4', batch_sizes='4:10 ' * 60,
               total_p50_ms='1.5', total_p95_ms='2.5', total_p99_ms='123456789.123'),
        *(status(f'/{long}: camera {name}', 1, f'{long} has no publisher',
                 image_topic=f'/{long}image', received_hz='30.0', answered_hz='29.9',
                 received='123456789012', answered='123456789000', in_progress='123456',
                 dropped_superseded='123456', dropped_stale='123456', dropped_malformed='99')
          for name in ('front', long, '猫の写真' * 20))]))
    text, wide = shown(found, 80), shown(found, 1000)
    assert_harmless(text)
    assert max(map(cell_len, text.splitlines())) == 80
    words = set(re.findall(r'[^\s│]+', wide))
    assert not [word for word in re.findall(r'[^\s│]+', text)
                if word.isalnum() and word not in words]
    assert text.count('123456789012') == 3
    assert '…' in text
