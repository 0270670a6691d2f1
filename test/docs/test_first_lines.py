"""The first lines that a reader copies from the site are run, or read by what would run them."""

from __future__ import annotations

import re
import shlex

import cv2
from models.tiny_model import COLOURS, write_tiny_model
import numpy as np
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import parser_for
from resnet_trt_node.launch_support.launch_arguments import classify_arguments

DOCS = REPOSITORY / 'docs'


def test_python_example(
        tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / 'reference' / 'api' / 'index.md').read_text(encoding='utf-8')
    example, = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'models').mkdir()
    write_tiny_model(tmp_path / 'models' / 'resnet50.onnx')
    shown = {'cat.jpg': 'red', 'dog.jpg': 'green'}
    for name, colour in shown.items():
        cv2.imwrite(name, np.full((60, 80, 3), COLOURS[colour][::-1], np.uint8))
    exec(compile(example, 'index.md', 'exec'), {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [words[:2] for words in lines] == [list(item) for item in shown.items()]
    assert all(0.5 < float(words[2]) <= 1 for words in lines)


def test_commands_of_the_front_page() -> None:
    text = (DOCS / 'index.md').read_text(encoding='utf-8')
    blocks = re.findall(r'```sh\n(.*?)```', text, re.DOTALL)
    commands = [shlex.split(line) for line in
                ''.join(blocks).replace('\\\n', '').splitlines()]
    tried = set()
    for command in commands:
        tried.add(command[0])
        if command[0] == 'resnet_trt':
            parser_for(command[1]).parse_args(command[1:])
        elif command[:2] == ['ros2', 'launch']:
            known = {argument.name for argument in classify_arguments()}
            assert {word.partition(':=')[0] for word in command[4:]} <= known
            assert (REPOSITORY / 'launch' / command[3]).exists()
        elif command[0] == 'make':
            assert f'\n{command[1]}:' in (REPOSITORY / 'Makefile').read_text(encoding='utf-8')
        elif command[0] == 'pip':
            assert (REPOSITORY / command[-1]).exists()
    assert tried == {'make', 'ros2', 'python3', 'resnet_trt', 'pip'}
