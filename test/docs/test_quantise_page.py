"""The commands of docs/how-to/quantise.md are real, and its links lead somewhere."""

from __future__ import annotations

from pathlib import Path
import re

from bags.image_bags import BagWriter
import cv2
from documentation.json_schemas import checked
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import main, parser_for
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.onnx_tools.choices import METHODS, MIN_FRAMES
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.export import export_resnet

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / 'docs' / 'how-to' / 'quantise.md'
TEXT = PAGE.read_text(encoding='utf-8')
RUN = [line for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
       for line in block.strip().splitlines()]
#: Not run here: they need a GPU, or files that are not in the repository.
SHOWN = [line.strip() for line in re.findall(r'^    (resnet_trt .*)$', TEXT, re.MULTILINE)]
CLASSES = ('cat', 'dog')


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp('quantise_page')
    frames = sample_frames(40, 40, 48, 2)
    export_resnet('resnet18', 'random', folder / 'mine.onnx', labels=CLASSES, image_size=32)
    with BagWriter(folder / 'drive') as bag:
        for number, frame in enumerate(frames):
            name = CLASSES[number % 2]
            for place in ('pictures', 'labelled'):
                (folder / place / name).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / place / name / f'{number}.png'), frame)
            bag.write_image('/front/image_raw', frame, number * 10**8, 'front')
    return folder


def parser_of(command):
    return parser_for(command).commands[command]


def test_the_commands_run_one_after_the_other(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    assert [command.split()[1] for command in RUN] == [
        'quantize', 'evaluate', 'quantize', 'quantize']
    for command in RUN:
        words = command.split()[1:]
        # As it stands, only shorter.
        short = ['--limit', '12', '--min-pictures', '12'] if words[0] == 'quantize' else [
            '--backend', 'onnxruntime', '--threads', '1']
        assert main([*words, *short]) == 0, command
        printed = capsys.readouterr().out
        if words[0] == 'quantize':
            assert read_model_spec('mine_int8.onnx').precision == 'int8'
            for word in ('% of the answers', '95 % confidence', 'divergence', 'within'):
                assert word in printed
        if '--sensitivity' in words:
            # The head of its table is on the page.
            head = re.search(r'layer +divergence +same top-1', TEXT)
            assert head is not None
            assert head.group().split() == printed.splitlines()[3].split()
    ranking = checked(Path('layers.json').read_text(encoding='utf-8'))['layers']
    assert len(ranking) == 21
    assert set(re.findall(r'`layer`, `(\w+)` and `(\w+)`', TEXT)[0]) | {'layer'} == set(ranking[0])


@pytest.mark.parametrize('line', SHOWN)
def test_commands_that_are_only_shown_parse(line):
    command, *words = line.split()[1:]
    parser_of(command).parse_args(words)


def test_options_methods_and_numbers_are_those_of_the_command():
    assert {line.split()[1] for line in SHOWN} == {'quantize', 'evaluate', 'compare', 'build'}
    known = set()
    for command in ('quantize', 'evaluate', 'compare'):
        known |= set(re.findall(r'--[a-z-]+', parser_of(command).format_help()))
    assert set(re.findall(r'(?<![\w-])--[a-z][a-z-]+', TEXT)) <= known
    # None of the command's own is left out.
    own = set(re.findall(r'--[a-z-]+', parser_of('quantize').format_help()))
    assert own - set(re.findall(r'--[a-z-]+', TEXT)) == {'--help', '--output'}
    assert set(re.findall(r'^\| `(\w+)`', TEXT, re.MULTILINE)) == set(METHODS)
    parsed = parser_of('quantize').parse_args(['m', '-o', 'o', '--images', 'c'])
    assert f'`--limit`, {parsed.limit} by default' in TEXT
    assert f'fewer than {MIN_FRAMES} different pictures' in TEXT
    assert parsed.min_pictures == MIN_FRAMES
    default, = re.findall(r'^\| `(\w+)` .*the default', TEXT, re.MULTILINE)
    assert parsed.method == default


def test_links_lead_somewhere():
    links = re.findall(r'\]\((?!http)([^)]+)\)', TEXT)
    assert len(links) > 5
    for link in links:
        path, _, anchor = link.partition('#')
        target = PAGE.parent / path
        assert target.exists(), link
        heads = re.findall(r'^#+ (.*)$', target.read_text(encoding='utf-8'), re.MULTILINE)
        anchors = {re.sub(r'[^\w -]', '', head.lower()).replace(' ', '-') for head in heads}
        assert not anchor or anchor in anchors, link
