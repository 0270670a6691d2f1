"""The benchmark of the whole node, on a backend that needs no GPU, and the page made of it."""

from __future__ import annotations

from dataclasses import asdict
import json
import os
import signal
import subprocess
import sys
import time

from bench import BenchError
from markdown_page import read_json
from models.tiny_model import write_tiny_model
import pytest
from repository import REPOSITORY

from tools.gpu.node.measurement import _at_most
from tools.gpu.node.page import markdown
from tools.gpu.node.scenarios import scenarios

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """Return what one scenario of each kind that works without a GPU gives."""
    folder = tmp_path_factory.mktemp('node_bench')
    model, out = write_tiny_model(folder / 'tiny.onnx'), folder / 'out.json'
    command = [
        sys.executable, '-m', 'tools.gpu.node.bench', '--fp16', str(model), '--int8', str(model),
        '--out', str(out), '--backend', 'onnxruntime', '--seconds', '2', '--only',
        'rate_fp16_1_VGA_raw', 'awake_fp16_1_VGA_raw', 'limit_fp16_1_VGA_raw',
        'regions_fp16_1_VGA_raw_6']
    environment = {**os.environ, 'PYTHONPATH': f'{REPOSITORY / "tools"}:{REPOSITORY}'}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # The second call finds everything done.
    again = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert '[1/4]' not in again.stdout
    return read_json(out)


def test_every_frame_is_in_the_balance(measured):
    found = measured['scenarios']['rate_fp16_1_VGA_raw']
    balance = found['figures']['balance']
    # Warming up is in it: three seconds before the two.
    assert balance['sent'] == pytest.approx(150, abs=2)
    assert balance['heard'] + sum(found['lost'].values()) + balance['lost_silently'] == (
        balance['sent'])
    assert all(check['met'] for check in found['checks'])
    assert found['first_answer_ms'] > 0


def test_nothing_is_lost_while_no_core_sleeps(measured):
    found = measured['scenarios']['awake_fp16_1_VGA_raw']
    assert all(check['met'] for check in found['checks'])
    assert '### With cores that do not sleep' in markdown(measured)


def test_every_region_of_the_answered_frames_has_an_answer(measured):
    found = measured['scenarios']['regions_fp16_1_VGA_raw_6']
    assert all(check['met'] for check in found['checks'])
    figures = found['figures']
    assert found['regions']['sent'] == 6 * figures['sent']
    assert found['regions']['answered'] == 6 * figures['answered'] > 0
    assert found['regions']['answered_hz'] > 0


def test_the_limit_ends_where_frames_are_lost_or_cameras_late(measured):
    steps = measured['scenarios']['limit_fp16_1_VGA_raw']['steps']
    assert steps[0]['rate_hz'] == 60
    for step in steps[:-1]:
        assert step['answered'] == step['sent']
        assert step['cameras_skipped'] == 0
    last = steps[-1]
    assert last['answered'] < last['sent'] or last['cameras_skipped'] or last['rate_hz'] > 800


def test_the_page_tells_what_was_lost(measured):
    whole = markdown(measured)
    assert '| fp16, 1 VGA raw |' in whole
    changed = json.loads(json.dumps(measured))
    one = changed['scenarios']['rate_fp16_1_VGA_raw']
    one['lost']['dropped_superseded'] = 7
    balance = one['figures']['balance']
    balance['heard'] -= 7
    assert 'dropped_superseded 7' in markdown(changed)
    row = next(line for line in markdown(changed).splitlines() if '1 VGA raw |' in line)
    assert row.endswith(f'| {balance["sent"] - balance["heard"]} |')


def test_the_page_tells_regions(measured):
    text = markdown(measured)
    hz = measured['scenarios']['regions_fp16_1_VGA_raw_6']['regions']['answered_hz']
    assert f'| fp16, 1 VGA raw, 6 regions | {hz:,.0f} |' in text
    assert 'most regions' not in text


def test_the_page_tells_where_the_search_for_most_regions_ended():
    spread = {'p50': 5.0, 'p95': 6.0, 'p99': 7.0}
    step = {'regions': 30, 'regions_hz': 5400.0, 'sent': 360, 'answered': 360, 'lost': {},
            'cameras_skipped': 0, 'source_to_answer_ms': spread}
    last = {**step, 'regions': 45, 'answered': 340, 'lost': {'dropped_superseded': 20}}
    limit = next(one for one in scenarios() if one.kind == 'regions_limit')
    machine = dict.fromkeys(
        ('gpu', 'cores', 'cpu', 'python', 'rclpy', 'transport', 'commit'), '?')
    results = {'machine': machine, 'scenarios': {
        limit.name: {'scenario': asdict(limit), 'steps': [step, last]}}}
    assert ('| fp16, 6 VGA raw | 30 regions of a frame | 5,400 | 5.00 / 7.00 | 45 regions: 340 of '
            '360 answered (dropped_superseded 20) |') in markdown(results)
    results['scenarios'][limit.name]['steps'] = [last]
    assert '| fp16, 6 VGA raw | less than 45 regions |  |  |' in markdown(results)


def test_a_scenario_that_takes_too_long_is_an_error():
    with pytest.raises(BenchError, match=r'its 0\.05 s'), _at_most(0.05):
        time.sleep(30)
    with _at_most(30):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_batches_and_engines_fit_the_scenario():
    chosen = {one.name: (one.batch, one.engine_batch) for one in scenarios()}
    assert chosen['rate_fp16_1_VGA_raw'] == (6, 1)
    assert chosen['rate_fp16_6_VGA_raw'] == (6, 6)
    assert chosen['regions_fp16_1_VGA_raw_6'] == (8, 8)
    assert chosen['regions_fp16_6_1080p_raw_20'] == (64, 64)


def test_the_scenarios_have_names_of_their_own():
    names = [one.name for one in scenarios()]
    assert len(set(names)) == len(names) == 29
