"""The commands of docs/how-to/compare-backends.md are real, and its links lead somewhere."""

from __future__ import annotations

import re

import cv2
from models.tiny_model import colour_picture, write_tiny_model
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import main, parser_for
from resnet_trt_node.compare.choice import NAMES, parse_names

# Polygraphy imports PyTorch where that is installed.
pytestmark = pytest.mark.slow

PAGE = REPOSITORY / 'docs' / 'how-to' / 'compare-backends.md'
TEXT = PAGE.read_text(encoding='utf-8')
COMMANDS = [
    line for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
    for line in block.strip().splitlines()]
#: Not run here: they need another Python or a tool's arguments.
SHOWN = re.findall(r'^    (\S.* compare .*)$', TEXT, re.MULTILINE)


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp('how_to')
    (folder / 'photos').mkdir()
    for name in ('resnet50', 'resnet50_fp16'):
        (folder / 'models').mkdir(exist_ok=True)
        write_tiny_model(folder / 'models' / f'{name}.onnx')
    for colour in ('red', 'cyan'):
        cv2.imwrite(str(folder / 'photos' / f'{colour}.png'), colour_picture(colour))
    return folder


@pytest.mark.parametrize('command', COMMANDS)
def test_a_command_runs(command, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    words = command.split()
    assert words[:2] == ['resnet_trt', 'compare']
    # As it stands, only shorter.
    assert main([*words[1:], '--seconds', '0.05']) == 0
    assert re.search(
        '^(All agree|onnxruntime is alone|here.npz)', capsys.readouterr().out, re.MULTILINE)


def test_the_others_are_understood():
    assert len(COMMANDS) == 4
    assert len(SHOWN) == 2
    parser = parser_for('compare').commands['compare']
    for command in SHOWN:
        parsed = parser.parse_args(command.partition(' compare ')[2].split())
        assert parse_names(parsed.backends)
        assert parsed.save or parsed.saved


def test_backends_and_options_that_are_named_exist():
    named = set(re.findall(r'`((?:polygraphy:)?[a-z_]+)`', TEXT))
    assert set(NAMES) - {'tvm'} <= named
    parser = parser_for('compare').commands['compare']
    known = set(re.findall(r'--[a-z-]+', parser.format_help()))
    named = re.sub(r'^ {4}python3 -m tools.*$', '', TEXT, flags=re.MULTILINE)
    assert set(re.findall(r'--[a-z][a-z-]+', named)) <= known


def test_links_lead_somewhere():
    links = re.findall(r'\]\((?!http)([^)#]+)', TEXT)
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link
