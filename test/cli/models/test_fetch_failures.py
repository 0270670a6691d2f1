"""`resnet_trt fetch` against servers and indexes that misbehave: one line, and nothing is left."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from threading import Event

from models.model_server import left_over, redirect_to, send
import pytest
from repository import REPOSITORY
from resnet_trt_node.downloads import transfer

pytestmark = pytest.mark.slow


def change(published, **values) -> None:
    path = published / 'index.json'
    document = json.loads(path.read_text())
    document['models'][0].update(values)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize('target', [
    'file:///etc/passwd', 'ftp://127.0.0.1/a', 'data:,a', '//127.0.0.1:{port}/back'])
def test_a_redirect_to_another_scheme_or_in_a_circle_is_not(
        server, file, kept, resnet_trt, target):
    port = server.address.rpartition(':')[2]
    server.instead[file.name] = redirect_to(target.format(port=port))
    server.instead['back'] = redirect_to(f'{server.address}/{file.name}')
    line = resnet_trt.refused('fetch', 'colours')
    assert 'redirects to' in line
    assert not kept.exists()


def test_encryption_is_not_given_up_by_a_redirect():
    request = transfer.urllib.request.Request('https://host/index.json')
    with pytest.raises(transfer.HTTPError):
        transfer._Redirects().redirect_request(
            request, None, 302, 'Found', {}, 'http://host/index.json')
    assert transfer._Redirects().redirect_request(
        request, None, 302, 'Found', {}, 'https://other/index.json') is not None


def stop_short(request) -> None:
    send(request, b'a', stated=5000)


def say_no_http(request) -> None:
    request.wfile.write(b'SSH-2.0\r\n')


def hang_up(request) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(('name', 'answer', 'reason'), [
    ('index.json', b'', 'no JSON'),
    ('index.json', b'<html>login</html>', 'no JSON'),
    ('index.json', b'{"format": "x"}', 'no index of models'),
    ('index.json', bytes(5 << 20), 'more than 4 MiB'),
    ('index.json', lambda request: request.send_error(503), 'HTTP 503'),
    ('index.json', stop_short, 'broke off|no whole HTTP'),
    ('index.json', say_no_http, 'no whole HTTP'),
    ('index.json', hang_up, ''),
    ('model', lambda request: request.send_error(404), 'HTTP 404'),
    ('model', stop_short, 'has 5000 bytes'),
    ('model', say_no_http, 'no whole HTTP'),
    ('model', hang_up, '')])
def test_a_server_that_misbehaves_is_one_line(
        server, file, kept, tmp_path, resnet_trt, name, answer, reason):
    server.instead[file.name if name == 'model' else name] = answer
    line = resnet_trt.refused('fetch', 'colours')
    assert any(part in line for part in reason.split('|'))
    assert server.address in line
    assert not kept.exists()
    assert left_over(tmp_path) == []


def test_other_bytes_are_refused(server, file, kept, resnet_trt):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    server.instead[file.name] = bytes(content)
    line = resnet_trt.refused('fetch', 'colours')
    assert 'sha256' in line
    assert str(kept) in line
    assert not kept.exists()


def test_more_bytes_than_stated_are_not_read(server, file, kept, tmp_path, resnet_trt):
    ended = Event()

    def endless(request) -> None:
        send(request, file.read_bytes(), stated=-2)
        try:
            while True:
                request.wfile.write(bytes(1 << 16))
        except OSError:
            ended.set()
    server.instead[file.name] = endless
    assert 'sends more than' in resnet_trt.refused('fetch', 'colours')
    assert ended.wait(60)
    assert left_over(tmp_path) == []


def test_fewer_bytes_than_stated_are_noticed(server, file, resnet_trt):
    server.instead[file.name] = lambda request: send(request, file.read_bytes()[:50], stated=-2)
    assert 'broke off after 50 of' in resnet_trt.refused('fetch', 'colours')


def test_a_server_that_says_nothing_is_left(server, file, monkeypatch, resnet_trt):
    leave = Event()
    server.instead[file.name] = lambda request: leave.wait(60)
    monkeypatch.setattr(transfer, 'TIMEOUT_S', 0.2)
    line = resnet_trt.refused('fetch', 'colours')
    leave.set()
    assert 'timed out' in line


def test_what_is_no_deployable_model_is_refused(published, file, kept, resnet_trt):
    file.write_bytes(b'no model')
    change(published, bytes=8, sha256=hashlib.sha256(b'no model').hexdigest())
    line = resnet_trt.refused('fetch', 'colours', '--index', published)
    assert f'{file} is not an ONNX file' in line
    assert not list(kept.parent.iterdir())


@pytest.mark.parametrize('file', ['../colours.onnx', '/etc/passwd', '.colours.onnx'])
def test_an_index_leads_to_no_other_folder(published, resnet_trt, file):
    change(published, file=file)
    assert 'without a folder' in resnet_trt.refused('fetch', 'colours', '--index', published)


def test_texts_of_an_index_command_no_terminal(published, resnet_trt):
    change(published, description='\x1b[2J\nmore', licence='\x07')
    outcome = resnet_trt('fetch', '--index', published)
    assert '\x1b' not in outcome.out
    assert '\x07' not in outcome.out
    assert len(outcome.out.splitlines()) == 3


def test_ctrl_c_leaves_nothing(server, file, tmp_path):
    began, leave = Event(), Event()

    def begin(request) -> None:
        send(request, b'a', stated=file.stat().st_size)
        began.set()
        leave.wait(60)
    server.instead[file.name] = begin
    with subprocess.Popen(
            [sys.executable, '-m', 'resnet_trt_node.cli.main', 'fetch', 'colours'],
            env={**os.environ, 'PYTHONPATH': str(REPOSITORY)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True) as process:
        assert began.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    leave.set()
    assert (process.returncode, out, err) == (130, '', '\n')
    assert left_over(tmp_path) == []
