"""The commands of docs/how-to/my-own-classes.md are real, and its links lead somewhere."""

from __future__ import annotations

import re

from pictures.shapes import write_shapes
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import COMMANDS, main, parser_for
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / 'docs' / 'how-to' / 'my-own-classes.md'
TEXT = PAGE.read_text(encoding='utf-8')
RUN = [line for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
       for line in block.strip().splitlines()]
#: Not run here: they need published weights, a GPU, or files of the reader's.
SHOWN = [line.strip() for line in re.findall(r'^    (resnet_trt .*)$', TEXT, re.MULTILINE)]


def test_the_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    write_shapes(tmp_path / 'pictures', 5)
    monkeypatch.chdir(tmp_path)
    assert [command.split()[1] for command in RUN] == ['train', 'export', 'evaluate', 'classify']
    for command in RUN:
        words = command.split()[1:]
        short = {'train': ['--epochs', '1', '--device', 'cpu', '--threads', '1'],
                 'export': []}.get(words[0], ['--backend', 'onnxruntime', '--threads', '1'])
        assert main([*words, *short]) == 0, command
    capsys.readouterr()
    assert len(list((tmp_path / 'annotated').rglob('*.*'))) == 15
    for name in re.findall(r'`(\w+\.(?:pth|csv|json|png))`', TEXT.partition('## Look')[0]):
        assert (tmp_path / 'runs' / 'mine' / name).is_file(), name


@pytest.mark.parametrize('command', SHOWN)
def test_commands_that_are_only_shown_parse(command):
    name, *words = command.split()[1:]
    assert name in COMMANDS
    parser_for(name).commands[name].parse_args(words)


def test_options_parameters_and_links_exist():
    parser = parser_for('train').commands['train']
    table = TEXT.partition('| if | then |')[2].partition('\n\n')[0]
    options = set(re.findall(r'`(--[a-z-]+)', table))
    assert len(options) > 8
    assert options <= set(parser.format_help().replace(',', ' ').split()) | {
        word.strip('[],') for word in parser.format_usage().split()}
    assert 'score_threshold' in parameter_fields()
    assert (REPOSITORY / 'examples' / 'cifar10' / 'recipe.sh').is_file()
    links = re.findall(r'\]\((?!http)([^)#]+)', TEXT)
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link
