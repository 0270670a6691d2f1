"""The page: one section for each command, written from JSON, others left alone."""

from __future__ import annotations

import json
import re

from bench import BenchError
from bench.figures import Check, Outcome
from bench.report import markdown, print_outcome, replaced
from markdown_page import write_section
import pytest
from repository import REPOSITORY
from tools.gpu.sitting_results import Sitting
from tools.performance_goals import NODE_LIMITS_MS
from tools.performance_summary import goals, summary

pytestmark = pytest.mark.slow

MACHINE = {
    'cores': '2', 'cpu': 'A CPU', 'memory': '8 GiB', 'python': '3.11.7', 'numpy': '2',
    'opencv-python-headless': '4', 'transport': 'x.xml', 'commit': 'abc'}


def results():
    outcome = Outcome('soak', 'six cameras for 10 minutes', [
        Check('memory gained', 1.25, 8.0, 'MiB'), Check('exit code', 1, 0),
        Check('p99', None, 25.0, 'ms')], {
            'sent': 10, 'broken': 1, 'received': 11, 'answered': 9, 'faults': {'killed': 2},
            'longest_recovery_s': {'killed': 0.5}, 'seconds': 7200.0,
            'memory_slope_mib_per_hour': 1.0, 'threads': [20, 20], 'descriptors': [30, 31],
            'node_cores': 0.4, 'complaints': ['activate failed']})
    return {'date': '2026-01-02', 'quick': False, 'machine': MACHINE,
            'scenarios': [outcome.to_json()]}, outcome


def test_section_holds_what_was_measured():
    text = markdown(results()[0], plotted=False)
    assert '- activate failed' in text
    assert 'killed 2 x' in text


def test_regions_stand_beside_those_of_the_plain_node():
    receiver = {
        'frames_sent': 3600, 'frames_answered': 3599, 'regions_sent': 36000,
        'regions_answered': 35990, 'regions_hz': 1199.5, 'cpu_ms_per_region': 0.8,
        'source_to_answer_ms': {'p50': 20.0, 'p95': 30.0, 'p99': 40.0}}
    load = {'cores_busy': 1.0, 'cores_of_others': 0.0, 'camera_frames_skipped': 0}
    outcome = Outcome('regions', 'regions of six cameras', [], {
        'seconds': 30.0, 'sent': 3600, 'answered': 3599, 'load': load, 'max_batch_size': 32,
        'mean_batch_size': '20.5', 'dropped': {'c0/dropped_superseded': 1}, 'stages_ms': {},
        'source_to_answer_ms': receiver['source_to_answer_ms'], 'node_cpu_ms_per_answer': 8.0,
        'regions': {'ours': receiver, 'plain': {**receiver, 'regions_hz': 170.5}}})
    text = markdown({**results()[0], 'scenarios': [outcome.to_json()]}, plotted=False)
    assert '| regions answered a second | 1199.5 | 170.5 |' in text
    assert 'frames dropped: c0/dropped_superseded 1.' in text


def test_only_missed_goals_are_listed():
    text = goals(results()[0], Sitting({}))
    assert '| soak: exit code | 1 | at most 0 |' in text
    assert '| soak: p99 | not measured | at most 25 ms |' in text
    assert 'memory gained' not in text


def test_the_page_of_this_repository_begins_with_its_results():
    page = (REPOSITORY / 'docs' / 'performance.md').read_text(encoding='utf-8')
    realtime, gpu, tvm, node = (
        json.loads((REPOSITORY / 'docs' / 'performance' / name).read_text(encoding='utf-8'))
        for name in ('realtime.json', 'gpu.json', 'compare/tvm.json', 'gpu_node.json'))
    first = summary(realtime, Sitting(gpu), tvm, node)
    last = goals(realtime, Sitting(gpu), node)
    assert page.index(first) < page.index('## Real time') < page.index('## On a GPU')
    assert page.rstrip().endswith(f'{last}\n\n<!-- end goals -->')


def test_every_goal_that_the_notes_name_is_among_the_goals():
    notes = (REPOSITORY / 'tools' / 'gpu' / 'node' / 'notes.md').read_text(encoding='utf-8')
    named = re.findall(r'goals?\s+(?:was|of)\s+([\d.]+\d)(?:\s+and\s+([\d.]+\d))?', notes)
    assert len(named) >= 5
    limits = {limit for one in NODE_LIMITS_MS.values() for limit in one.values()}
    assert limits == {float(value) for pair in named for value in pair if value}


def test_a_missed_goal_of_a_single_camera_is_listed():
    figures = {
        'balance': {'sent': 390, 'heard': 390}, 'stages_ms': {'total': [1.9, 2.0, 2.26]},
        'source_to_answer_ms': {'p50': 8.2}, 'node_cpu_ms_per_answer': 5.967}
    node = {'scenarios': {'rate_fp16_1_1080p_raw': {
        'scenario': {'kind': 'rate'}, 'figures': figures}}}
    text = goals(results()[0], Sitting({}), node)
    missed = [row for row in text.splitlines() if 'on a GPU' in row]
    assert missed == [
        '| rate_fp16_1_1080p_raw on a GPU: p50 of receive to publish | 1.9 ms | at most 1.8 ms |',
        '| rate_fp16_1_1080p_raw on a GPU: CPU of a frame | 5.967 ms | at most 3.8 ms |']


def test_losses_are_divided_by_whether_they_were_reported():
    whole, outcome = results()
    outcome.name = 'soak_default'
    outcome.figures['balance'] = {
        'sent': 20, 'received': 11, 'lost': 6, 'answered': 9, 'heard': 9, 'lost_silently': 3}
    text = markdown({**whole, 'scenarios': [outcome.to_json()]}, plotted=False)
    assert re.search('20 sent .* 6 were lost, and 3 ', text)
    assert 'Memory 1.0 MiB/h' in text


def test_a_longer_soak_takes_the_place_of_the_short_one():
    whole, outcome = results()
    other = {**outcome.to_json(), 'name': 'six_cameras'}
    whole['scenarios'].append(other)
    longer = {**outcome.to_json(), 'title': 'six cameras for 9 hours'}
    run = {'date': '2026-01-03', 'quick': False, 'scenarios': [longer],
           'machine': {**MACHINE, 'commit': 'def', 'cores': '4'}}
    merged = replaced(whole, run)
    assert [one['title'] for one in merged['scenarios']] == [longer['title'], other['title']]
    text = markdown({**merged, 'scenarios': merged['scenarios'][:1]}, plotted=False)
    assert text.count('2026-01-03, 4 cores of A CPU, commit def') == 1
    assert '2026-01-02, 2 cores of A CPU' in text
    with pytest.raises(BenchError, match='too short'):
        replaced(whole, {**run, 'quick': True})


def test_the_terminal_shows_the_same(capsys):
    print_outcome(results()[1])
    printed = capsys.readouterr().out
    assert re.search(r'^ *met .*1\.25 MiB', printed, re.MULTILINE)
    assert re.search('^ *missed .*exit code: 1', printed, re.MULTILINE)


def test_sections_leave_each_other_alone(tmp_path):
    page = tmp_path / 'performance.md'
    write_section(page, 'gpu', '## GPU\n\nfirst', 'a')
    write_section(page, 'real-time', '## Real time\n\n1 \\1', 'b')
    write_section(page, 'gpu', '## GPU\n\nsecond', 'a')
    text = page.read_text()
    assert text.startswith('# Performance\n')
    assert 'first' not in text
    assert text.index('second') < text.index('1 \\1')
    before = text
    write_section(page, 'real-time', '## Real time\n\n1 \\1', 'b')
    assert page.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ['performance.md']
