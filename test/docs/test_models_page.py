"""The commands of docs/how-to/models.md run as they stand there, one after the other."""

from __future__ import annotations

import re
import shlex

from documentation.pages import dead_links
from make_model_index import main as make_model_index
from models.classifiers import CLASSES, write_classifier
from models.model_server import ModelServer
from models.tiny_model import write_tiny_model
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import main
from resnet_trt_node.downloads.index import IndexEntry
from resnet_trt_node.launch_support.launch_arguments import classify_arguments
from resnet_trt_node.onnx_tools.contract_check import check_contract

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / 'docs' / 'how-to' / 'models.md'
TEXT = PAGE.read_text(encoding='utf-8')
RUN = [line for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
       for line in block.strip().splitlines()]
#: What runs nodes and servers, which other tests do.
SHOWN = [line.strip() for line in re.findall(r'^    (\S.*)$', TEXT, re.MULTILINE)]
TOOL = '.venv/bin/python tools/make_model_index.py '


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Go to a folder of what the page's reader has: a classifier from elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('RESNET_TRT_CACHE', str(tmp_path / 'cache'))
    for name in ('RESNET_TRT_INDEX', 'http_proxy', 'HTTP_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    write_classifier(tmp_path / 'classifier.onnx')
    (tmp_path / 'labels.txt').write_text(''.join(f'class {index}\n' for index in range(CLASSES)))
    write_tiny_model(tmp_path / 'resnet18.onnx')
    assert make_model_index(['resnet18.onnx', '-o', 'models', '--licence', 'MIT']) == 0
    (tmp_path / 'resnet18.onnx').unlink()
    return tmp_path


def test_the_commands_run_one_after_the_other(workplace, monkeypatch, capsys):
    assert len(RUN) == 10
    with ModelServer(workplace / 'models') as server:
        for command in RUN:
            if command.startswith('export '):
                name, _, value = command.removeprefix('export ').partition('=')
                assert value == 'https://example.org/models'
                monkeypatch.setenv(name, server.address)
            elif command.startswith(TOOL):
                assert make_model_index(shlex.split(command)[2:]) == 0
            else:
                words = shlex.split(command)
                assert words[0] == 'resnet_trt'
                code = main(words[1:])
                # As the page says, this one is not deployable.
                assert code == (words[1:] == ['check', 'classifier.onnx']), command
    assert check_contract(workplace / 'mine.onnx').deployable
    capsys.readouterr()
    assert main(['fetch', '--index', 'models']) == 0
    listed = capsys.readouterr().out
    assert 'traffic_signs' in listed
    assert '69.76 %' in listed


def test_the_command_that_check_prints_is_the_one_of_the_page(workplace, capsys):
    assert main(['check', 'classifier.onnx']) == 1
    advised = capsys.readouterr().out
    prepare, = (line for line in RUN if line.startswith('resnet_trt prepare'))
    assert prepare.replace('mine.onnx', 'classifier_deployable.onnx') in advised


def test_what_is_only_shown_has_existing_options():
    launch, server = SHOWN
    names = {argument.name for argument in classify_arguments()}
    words = shlex.split(launch.replace('$(', '').replace(')', ''))
    assert {word.partition(':=')[0] for word in words if ':=' in word} <= names
    assert server.startswith('python3 -m http.server --directory models')


def test_every_clause_and_key_is_named(workplace):
    cells = re.findall(r'^\| ([a-z, ]+) \|', TEXT, re.MULTILINE)
    named = {name for cell in cells for name in cell.split(', ')}
    assert {clause.name for clause in check_contract('classifier.onnx').clauses} <= named
    for key in IndexEntry.__dataclass_fields__:
        assert f'`{key}`' in TEXT


def test_links_lead_somewhere():
    assert dead_links(PAGE) == []
