"""The README is short, its links lead somewhere, and its figures are those that were measured."""

from __future__ import annotations

import json
import re
from typing import Any

from documentation.pages import dead_links
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import COMMANDS
from resnet_trt_node.launch_support.launch_arguments import classify_arguments
from resnet_trt_node.launch_support.replay_arguments import replay_arguments
from tools.gpu.sitting_results import Sitting
from tools.performance_summary import write_summary
from tools.readme_figures import figures

README = REPOSITORY / 'README.md'
ROBOT = REPOSITORY / 'docs' / 'how-to' / 'robot.md'
DISTRIBUTIONS = REPOSITORY / 'docs' / 'distributions.md'
TEXT = README.read_text(encoding='utf-8')
PERFORMANCE = REPOSITORY / 'docs' / 'performance'
NAMES = ('realtime.json', 'gpu.json', 'gpu_node.json')


def measurements() -> tuple[Any, Any, Any]:
    """Return what was measured: real time, backend on a GPU, whole node on a GPU."""
    realtime, gpu, node = (
        json.loads((PERFORMANCE / name).read_text(encoding='utf-8')) for name in NAMES)
    return realtime, Sitting(gpu), node


def test_it_is_read_in_five_minutes():
    assert len(TEXT.splitlines()) <= 150


def test_links_lead_somewhere():
    assert dead_links(README) == []


def test_every_page_can_be_reached():
    for page in (REPOSITORY / 'docs' / 'how-to').glob('*.md'):
        if page.name != 'benchmark.md':
            # Which the page of performance links to.
            assert f'(docs/how-to/{page.name}' in TEXT, page.name
    assert 'how-to/benchmark.md' in (REPOSITORY / 'docs' / 'performance.md').read_text(
        encoding='utf-8')


def test_figures_are_those_that_were_measured():
    assert figures(*measurements()) in TEXT, 'run `python3 -m tools.performance_summary docs`'


@pytest.mark.parametrize(('p99', 'verdict'), [(1.99, 'met'), (2.01, '**missed**')])
def test_a_missed_goal_is_called_missed(p99, verdict):
    realtime, sitting, node = measurements()
    node['scenarios']['rate_fp16_6_VGA_raw']['figures']['stages_ms']['total'] = [1.5, 1.7, p99]
    rows = figures(realtime, sitting, node).splitlines()
    assert [row for row in rows if row.endswith(f'| goal: p99 at most 2 ms, {verdict} |')]
    met, every, missed = map(int, re.findall(r'(\d+) of (\d+) goals are met; \[the (\d+) ',
                                             rows[-1])[0])
    assert met + missed == every


def test_turns_of_an_earlier_commit_are_marked():
    realtime, sitting, node = measurements()
    node['scenarios']['rate_fp16_1_1080p_raw']['figures']['source_to_answer_ms']['p50'] = 9.41
    plain = [one for name, one in node['scenarios'].items() if name.startswith('plain_')]
    for commit, marked in (('0123abc', 2), (node['machine']['commit'], 0)):
        for one in plain:
            one['commit'] = commit
        text = figures(realtime, sitting, node)
        assert text.count('(at the earlier commit 0123abc)') == marked
        assert text.count('**9.4 ms** | goal: p50 at most 8.25 ms, **missed**; [in turns]') == 1


def test_a_readme_without_the_table_is_left_alone(tmp_path):
    docs = tmp_path / 'docs'
    (docs / 'performance').mkdir(parents=True)
    for name in NAMES:
        (docs / 'performance' / name).write_bytes((PERFORMANCE / name).read_bytes())
    for text in ('# Other\n', '# Ours\n\n<!-- begin figures: -->\n<!-- end figures -->\n'):
        (tmp_path / 'README.md').write_text(text)
        write_summary(docs)
        written = (tmp_path / 'README.md').read_text()
        assert (figures(*measurements()) in written) == ('Ours' in text)


@pytest.mark.parametrize('page', [README, ROBOT], ids=lambda page: page.name)
def test_commands_and_arguments_exist(page):
    text = page.read_text(encoding='utf-8')
    blocks = ' '.join(re.findall(r'```sh\n(.*?)```', text, re.DOTALL)).replace('\\\n', ' ')
    commands = set(re.findall(r'\bresnet_trt ([a-z]+)', blocks))
    assert commands <= set(COMMANDS)
    arguments = {*re.findall(r'\b(\w+):=', text)}
    assert {'model_path', 'input', 'detections_topic'} <= arguments
    assert arguments <= {
        argument.name for argument in (*classify_arguments(), *replay_arguments())}


@pytest.mark.parametrize('page', [README, DISTRIBUTIONS], ids=lambda page: page.name)
def test_copies_of_a_frame_are_those_of_the_page_of_large_images(page):
    page_of_images = (REPOSITORY / 'docs/how-to/large-images.md').read_text(encoding='utf-8')
    assert re.search(r'copies an image out of shared memory, and rmw_fastrtps copies it\s+twice',
                     page_of_images)
    text = page.read_text(encoding='utf-8')
    assert re.search(r'(?:copies each frame|Each frame is copied)\s+three\s+times', text)
    assert 'how-to/large-images.md#how-messages-are-received' in text


@pytest.mark.parametrize('page', [ROBOT, DISTRIBUTIONS], ids=lambda page: page.name)
def test_links_of_the_pages_behind_it_lead_somewhere(page):
    assert dead_links(page) == []
