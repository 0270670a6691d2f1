"""The commands of docs/how-to/tvm.md are real, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import runpy
import sys

import cv2
from models.tiny_model import write_tiny_model
import numpy as np
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import main
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from resnet_trt_node.node.ros.parameters.values import check_value

PAGE = REPOSITORY / 'docs' / 'how-to' / 'tvm.md'
TEXT = PAGE.read_text(encoding='utf-8')
RUN = [line for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
       for line in block.strip().splitlines()]
SHOWN = re.findall(r'^    (\S.*)$', TEXT, re.MULTILINE)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    (tmp_path / 'models').mkdir()
    (tmp_path / 'photos').mkdir()
    write_tiny_model(tmp_path / 'models' / 'resnet50.onnx')
    cv2.imwrite(str(tmp_path / 'photos' / 'cat.jpg'), np.full((48, 64, 3), 255, np.uint8))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_commands_run(workplace, monkeypatch, capsys):
    pytest.importorskip('tvm', reason='Apache TVM is not installed')
    pytest.importorskip('polygraphy', reason='Polygraphy, which `resnet_trt compare` needs')
    commands = [line.split() for line in RUN]
    assert [words[0] for words in commands] == [
        'resnet_trt', 'classifier_node', 'python3']
    # As they stand, only shorter.
    assert main([*commands[0][1:], '--seconds', '0.1', '--limit', '2']) == 0
    assert 'All agree' in capsys.readouterr().out
    script, *words = commands[2][1:]
    monkeypatch.setattr(sys, 'argv', [script, *words, '--rounds', '1', '--json', 'out.json'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(REPOSITORY / script), run_name='__main__')
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith('cat.jpg: white 9')
    assert 'TVM takes ' in printed
    assert os.path.getsize('out.json') > 100


def test_the_node_has_the_parameters(workplace):
    shown = next(line for line in SHOWN if line.startswith('ros2 launch'))
    fields = parameter_fields()
    found = re.findall(r' (\w+):=(\S+)', shown)
    assert found == [('model_path', 'models/resnet50.onnx'), ('backend', 'tvm')]
    for name, text in (*found, *re.findall(r'-p (\w+):=(\S+)', RUN[1])):
        default = fields[name].default
        check_value(fields[name], type(default)(text))


def test_links_lead_somewhere():
    for link in re.findall(r'\]\((?!http)([^)#]+)', TEXT):
        assert (PAGE.parent / link).exists(), link


def test_the_page_names_the_version_that_is_pinned():
    pinned = re.search(
        r'^apache-tvm==(\S+)', (REPOSITORY / 'requirements' / 'compare.txt').read_text(),
        re.MULTILINE).group(1)
    assert f'pip install apache-tvm=={pinned}' in TEXT
