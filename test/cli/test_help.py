"""The help of all commands: what it needs, how wide it is, and that its examples are true."""

from __future__ import annotations

from argparse import SUPPRESS
import re
import shlex
import subprocess
import sys

import pytest
from resnet_trt_node.cli.main import COMMANDS, EXAMPLES, parser_for
from resnet_trt_node.cli.support.parser import CommandParser, GROUPS
from resnet_trt_node.text.spelling import RENAMED_OPTIONS

#: What takes long to import, or is not on every machine.
HEAVY = {
    'torch', 'torchvision', 'onnx', 'onnxruntime', 'cv2', 'PIL', 'polygraphy', 'rclpy', 'tvm',
    'tensorrt', 'pycuda', 'matplotlib', 'ray', 'scipy'}
#: Prints which modules are there after a command line was parsed.
PROBE = (
    'import sys\n'
    'from resnet_trt_node.cli.main import main\n'
    'try:\n'
    '    main(sys.argv[1:])\n'
    'finally:\n'
    '    print(*sys.modules, file=sys.stderr)\n')


def parser_of(command: str) -> CommandParser:
    return parser_for(command).commands[command]


@pytest.fixture(params=['', *COMMANDS])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
def test_help_and_refusals_import_no_runtime(command: str) -> None:
    for words in (['--help'], ['--no-such-option']):
        done = subprocess.run(
            [sys.executable, '-c', PROBE, *command.split(), *words], capture_output=True,
            text=True, timeout=300)
        assert done.returncode == (0 if words == ['--help'] else 2)
        imported = {name.partition('.')[0] for name in done.stderr.split()}
        assert 'argparse' in imported
        assert not imported & HEAVY


@pytest.mark.parametrize('name', ['classify', 'evaluate', 'calibrate', 'fleet'])
def test_resizing_as_a_node_on_the_gpu_is_explained(name: str) -> None:
    text = ' '.join(parser_of(name).format_help().split())
    assert 'exact gives the answers of a node that preprocesses on the GPU' in text


def test_help_fits_80_columns_and_breaks_no_word(
        command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '80')
    parser = parser_of(command) if command else parser_for(None)
    text = parser.format_help()
    assert [line for line in text.splitlines() if len(line) > 80] == []
    words = text.split()
    for action in parser.actions:
        for word in re.sub(r'%\(\w+\)\w', '', action.help or '').split():
            # A word may be broken behind a hyphen.
            assert word in words or all(part in text for part in re.split(r'(?<=-)', word)), word


def test_groups_are_in_one_order_and_every_option_is_explained(command: str) -> None:
    parser = parser_of(command) if command else parser_for(None)
    titles = [title for title, _, _ in parser.groups()]
    assert titles == [title for title in GROUPS if title in titles]
    assert all(action.help and action.help != SUPPRESS for action in parser.actions)
    # The groups of argparse itself hold nothing.
    for title in ('positional arguments', 'options', 'optional arguments'):
        assert f'\n{title}:' not in parser.format_help()


def test_examples_are_understood(command: str) -> None:
    examples = parser_of(command).examples if command else EXAMPLES
    assert len(examples) >= 2
    for line, effect in examples:
        program, name, *words = shlex.split(line)
        assert program == 'resnet_trt'
        assert command in ('', name)
        assert effect
        if words != ['--help']:
            assert parser_for(name).parse_args([name, *words]).command == name
        assert line in (parser_of(command) if command else parser_for(None)).format_help()


def test_one_vocabulary() -> None:
    options = {
        option for name in COMMANDS for action in parser_of(name).actions
        for option in action.option_strings}
    assert set(RENAMED_OPTIONS.values()) <= options
    # Of inspect alone, where it was a switch.
    assert options & set(RENAMED_OPTIONS) == {'--labels'}
    for name in COMMANDS:
        for action in parser_of(name).actions:
            assert ('-o' in action.option_strings) == ('--output' in action.option_strings)


@pytest.mark.parametrize(('words', 'answer'), [
    (['build', 'm', '--max-batch=4'], '--max-batch: it is called --batch-size now'),
    (['build', 'm', '--opt-batch', '4'], '--opt-batch: it is called --opt-batch-size now'),
    # argparse takes an unknown option whose value has a space for a file.
    (['classify', 'm', 'p', '--worst=my folder'], '--worst: `resnet_trt classify --help` lists'),
    (['classify', 'm', 'p', '--device-id', '1'], '--device-id: it is called --device now'),
    # An abbreviation would change its meaning with the next option.
    (['classify', 'm', 'p', '--batch', '4'], '--batch: did you mean --batch-size?'),
    (['classify', 'm', 'p', '--annot', 'd'], '--annot: did you mean --annotate?'),
    (['classify', 'm', 'p', '-k', '4'], '-k: `resnet_trt classify --help` lists the options'),
    (['classify', 'm', 'p', '--\x1b[31m'], r'--\x1b[31m'),
    (['classify', 'm', 'p', '--threads', '-x'], '-x: '),
])
def test_unknown_options_are_refused_with_what_to_write(resnet_trt, words, answer):
    assert f'unknown option {answer}' in resnet_trt.refused(*words)


@pytest.mark.parametrize('words', [
    ['classify', 'm', 'p', '--threads', '-1'], ['classify', 'm', '--', '--odd.png'],
    ['classify', 'm', '--odd name.png', '--top-k=3'], ['classify', 'm', 'p', '-oout'],
    ['prepare', 'm', '-o', 'o', '--mean', '-.5', '-1', '0', '--std', '1', '--scale', '255']])
def test_words_that_only_look_like_options_are_values(words):
    assert parser_for(words[0]).parse_args(words).command == words[0]


def test_the_gpu_is_an_index_in_every_command():
    for words in (['classify', 'm', 'p'], ['build', 'm'], ['compare', 'm', '--backends', 'x']):
        for written in ('1', 'cuda:1'):
            assert parser_for(words[0]).parse_args([*words, '--device', written]).device == 1
    train = ['train', '--images', 'p', '--device']
    assert parser_for('train').parse_args([*train, '1']).device == 'cuda:1'
    assert parser_for('train').parse_args([*train, 'cpu']).device == 'cpu'
