"""`resnet_trt fetch` against a local server, well-behaved and not, and without any network."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
import shutil
import signal
import socket
import subprocess
import sys
from threading import Event

from make_model_index import main as make_model_index
from model_server import ModelServer, redirect_to, send
import pytest
from repository import REPOSITORY
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.downloads import transfer
from tiny_model import write_tiny_model

pytestmark = pytest.mark.slow


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Return a folder that the tool made of a model; the user's cache is an empty one."""
    model = write_tiny_model(tmp_path / 'colours.onnx')
    folder = tmp_path / 'published'
    assert make_model_index([
        str(model), '-o', str(folder), '--name', 'colours', '--licence', 'Apache-2.0',
        '--description', 'corners of the cube', '--top1', '75.5']) == 0
    monkeypatch.setenv('RESNET_TRT_CACHE', str(tmp_path / 'cache'))
    monkeypatch.delenv('RESNET_TRT_INDEX', raising=False)
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def server(published, monkeypatch):
    """Serve that folder, and have the environment name the address."""
    with ModelServer(published) as running:
        monkeypatch.setenv('RESNET_TRT_INDEX', running.address)
        yield running


@pytest.fixture
def file(published):
    """Return the model's file in the folder."""
    return next(published.glob('*.onnx'))


@pytest.fixture
def kept(tmp_path, file):
    """Return where a model goes that is not asked for elsewhere."""
    return tmp_path / 'cache' / 'models' / file.name


def left_over(tmp_path) -> list[str]:
    return [str(path) for path in tmp_path.rglob('*.tmp')]


def change(published, **values) -> None:
    path = published / 'index.json'
    document = json.loads(path.read_text())
    document['models'][0].update(values)
    path.write_text(json.dumps(document))


def test_without_an_index_one_line_says_how_to_have_one(published, resnet_trt):
    line = resnet_trt.refused('fetch')
    for word in ('no release', '--index', 'RESNET_TRT_INDEX', 'tools/make_model_index.py',
                 'resnet_trt export'):
        assert word in line
    assert (REPOSITORY / 'tools' / 'make_model_index.py').exists()


@pytest.mark.parametrize('words', [(), ('--list',)])
def test_the_models_are_listed(server, resnet_trt, words):
    outcome = resnet_trt('fetch', *words)
    assert outcome.code == 0
    head, row, last = outcome.out.splitlines()
    assert head.split() == [
        'name', 'precision', 'input', 'classes', 'top-1', 'MB', 'licence', 'description']
    assert row.split() == [
        'colours', 'fp32', '32x32', '8', '75.5', '%', '0.0', 'Apache-2.0', 'corners', 'of', 'the',
        'cube']
    assert last == f'1 model in {server.address}/index.json'


def test_the_list_as_json(published, resnet_trt):
    document = resnet_trt('fetch', '--index', published, '--json').document
    assert document['format'] == 'resnet_trt.fetch_list'
    assert [model['name'] for model in document['models']] == ['colours']


def test_a_model_is_fetched_once_and_is_whole(server, file, kept, tmp_path, resnet_trt):
    first = resnet_trt('fetch', 'colours')
    assert first.code == 0, first.err
    assert f'{kept}: fetched' in first.out
    assert f'model_path:={kept}' in first.out
    assert kept.read_bytes() == file.read_bytes()
    assert read_model_spec(kept).num_classes == 8
    assert f'{kept}: already there' in resnet_trt('fetch', 'colours').out
    assert server.asked.count(file.name) == 1
    assert left_over(tmp_path) == []


def test_print_path_prints_the_path_alone(server, kept, resnet_trt):
    for _ in range(2):
        outcome = resnet_trt('fetch', 'colours', '--print-path')
        assert (outcome.code, outcome.out, outcome.err) == (0, f'{kept}\n', '')


def test_a_named_file_is_written_from_the_cache_if_it_is_there(
        server, file, tmp_path, resnet_trt):
    document = resnet_trt('fetch', 'colours', '-o', tmp_path / 'a.onnx', '--json').document
    assert document['how'] == 'fetched'
    assert document['path'] == str(tmp_path / 'a.onnx')
    assert document['sha256'] == hashlib.sha256(file.read_bytes()).hexdigest()
    resnet_trt('fetch', 'colours')
    document = resnet_trt('fetch', 'colours', '-o', tmp_path / 'b.onnx', '--json').document
    assert document['how'] == 'copied from the cache'
    assert server.asked.count(file.name) == 2
    assert (tmp_path / 'b.onnx').read_bytes() == file.read_bytes()


def test_a_folder_serves_as_well(published, file, kept, resnet_trt):
    assert resnet_trt('fetch', 'colours', '--index', published).code == 0
    assert kept.read_bytes() == file.read_bytes()


def test_another_file_in_its_place_is_replaced(server, file, kept, resnet_trt):
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(file.stat().st_size))
    assert f'{kept}: fetched' in resnet_trt('fetch', 'colours').out
    assert kept.read_bytes() == file.read_bytes()


def test_a_redirect_to_another_folder_is_followed(server, file, kept, resnet_trt):
    server.instead[file.name] = redirect_to(f'{server.address}/there')
    server.instead['there'] = file.read_bytes()
    assert resnet_trt('fetch', 'colours').code == 0
    assert kept.exists()


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


def test_offline_the_index_of_before_says_what_to_carry_where(
        published, file, kept, resnet_trt, monkeypatch):
    with ModelServer(published) as server:
        monkeypatch.setenv('RESNET_TRT_INDEX', server.address)
        assert resnet_trt('fetch').code == 0
    # The server is gone.
    outcome = resnet_trt('fetch', 'colours')
    assert outcome.code == 2
    note, line = outcome.err.splitlines()
    assert 'using the index that was read from there before' in note
    assert f'download {server.address}/{file.name} on another computer' in line
    assert f'put it at {kept}' in line
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b'half of it')
    assert 'where another file is now' in resnet_trt('fetch', 'colours').err
    shutil.copy(file, kept)
    outcome = resnet_trt('fetch', 'colours', '--print-path')
    assert (outcome.code, outcome.out) == (0, f'{kept}\n')


def test_offline_without_any_index_a_folder_is_the_way(published, resnet_trt):
    line = resnet_trt.refused('fetch', '--index', 'http://127.0.0.1:9/models')
    assert 'http://127.0.0.1:9/models/index.json' in line
    assert '--index FOLDER' in line


@pytest.mark.parametrize(('words', 'said'), [
    (['colours', '--list'], 'not both'), (['--print-path'], 'give its NAME'),
    (['-o', 'a.onnx'], 'give its NAME'), (['colour'], 'did you mean colours'),
    (['colours', '-o', '.'], 'is a folder')])
def test_words_that_do_not_fit_together(published, resnet_trt, words, said):
    assert said in resnet_trt.refused('fetch', *words, '--index', published)


def test_a_folder_without_an_index_names_the_tool(tmp_path, published, resnet_trt):
    assert 'make_model_index.py' in resnet_trt.refused('fetch', '--index', tmp_path)


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


def test_fetching_needs_no_pytorch(server, kept):
    code = (
        'import sys\n'
        'sys.modules["torch"] = sys.modules["rclpy"] = None\n'
        'from resnet_trt_node.cli.main import main\n'
        'sys.exit(main(["fetch", "colours", "--print-path"]))')
    done = subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': str(REPOSITORY)},
        capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, f'{kept}\n'), done.stderr


def test_the_tool_adds_to_its_index(published, tmp_path, capsys, resnet_trt):
    other = write_tiny_model(tmp_path / 'other.onnx', size=48, short_side=48)
    assert make_model_index([str(other), '-o', str(published), '--licence', 'MIT']) == 0
    models = resnet_trt('fetch', '--index', published, '--json').document['models']
    assert [(one['name'], one['licence'], one['width']) for one in models] == [
        ('colours', 'Apache-2.0', 32), ('other', 'MIT', 48)]


@pytest.mark.parametrize(('words', 'said'), [
    (['missing.onnx'], 'no model at'), (['{model}', '{model}', '--name', 'a'], 'of one model'),
    (['{model}', '--name', 'a/b'], 'without a folder'), (['{model}', '--top1', '200'], 'top1')])
def test_the_tool_refuses_in_one_line(published, tmp_path, capsys, words, said):
    model = tmp_path / 'colours.onnx'
    code = make_model_index([
        *(word.format(model=model) for word in words), '-o', str(tmp_path / 'new'),
        '--licence', 'MIT'])
    error = capsys.readouterr().err
    assert (code, error.count('\n')) == (2, 1)
    assert said in error
    assert not Path(tmp_path / 'new').exists()


def test_the_tool_does_not_replace_what_is_no_index(tmp_path, published, capsys):
    (published / 'index.json').write_text('{}')
    assert make_model_index([
        str(tmp_path / 'colours.onnx'), '-o', str(published), '--licence', 'MIT']) == 2
    assert (published / 'index.json').read_text() == '{}'
    assert 'no index' in capsys.readouterr().err
