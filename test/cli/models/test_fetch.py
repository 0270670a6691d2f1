"""`resnet_trt fetch` against a local server, a folder, and without any network."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys

from documentation.json_schemas import checked
from make_model_index import main as make_model_index
from models.model_server import left_over, ModelServer, redirect_to
from models.tiny_model import write_tiny_model
import pytest
from repository import REPOSITORY
from resnet_trt_node.contract.model_file import read_model_spec

pytestmark = pytest.mark.slow


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
    index = checked((published / 'index.json').read_text())
    assert index['models'] == document['models']


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


def test_the_launch_of_a_path_with_spaces_can_be_copied(server, tmp_path, resnet_trt):
    path = tmp_path / 'my models' / 'a.onnx'
    launch = resnet_trt('fetch', 'colours', '-o', path).out.splitlines()[-1]
    assert shlex.split(launch)[-1] == f'model_path:={path}'


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


def test_without_onnx_nothing_is_fetched(server, file, resnet_trt, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    assert 'pip install onnx' in resnet_trt.refused('fetch', 'colours')
    assert file.name not in server.asked


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
    (['{model}', 'other/colours.onnx'], 'one name'),
    (['{model}', '--name', 'a/b'], 'without a folder'), (['{model}', '--top1', '200'], 'top1')])
def test_the_tool_refuses_in_one_line(published, tmp_path, capsys, words, said):
    model = tmp_path / 'colours.onnx'
    code = make_model_index([
        *(word.format(model=model) for word in words), '-o', str(tmp_path / 'new'),
        '--licence', 'MIT'])
    error = capsys.readouterr().err
    assert (code, error.count('\n')) == (2, 1)
    assert said in error
    assert not (tmp_path / 'new').exists()


def test_the_tool_does_not_replace_what_is_no_index(tmp_path, published, capsys):
    (published / 'index.json').write_text('{}')
    (tmp_path / 'folder' / 'index.json').mkdir(parents=True)
    for folder, said in ((published, 'no index of models'), (tmp_path / 'folder', 'a folder')):
        assert make_model_index([
            str(tmp_path / 'colours.onnx'), '-o', str(folder), '--licence', 'MIT']) == 2
        error = capsys.readouterr().err
        assert str(folder / 'index.json') in error
        assert said in error
    assert (published / 'index.json').read_text() == '{}'
