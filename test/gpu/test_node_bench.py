"""The benchmark of the whole node, on a backend that needs no GPU, and the page made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from markdown_page import read_json
import pytest
from repository import REPOSITORY
from tiny_model import write_tiny_model

from tools.gpu.node_bench import scenarios
from tools.gpu.node_page import markdown

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """Return what one scenario of each kind that works without a GPU gives."""
    folder = tmp_path_factory.mktemp('node_bench')
    model, out = write_tiny_model(folder / 'tiny.onnx'), folder / 'out.json'
    command = [
        sys.executable, '-m', 'tools.gpu.node_bench', '--fp16', str(model), '--int8', str(model),
        '--out', str(out), '--backend', 'onnxruntime', '--seconds', '2', '--only',
        'rate_fp16_1_VGA_raw', 'limit_fp16_1_VGA_raw']
    environment = {**os.environ, 'PYTHONPATH': f'{REPOSITORY / "tools"}:{REPOSITORY}'}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # The second call finds everything done.
    again = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert '[1/2]' not in again.stdout
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


def test_the_scenarios_have_names_of_their_own():
    names = [one.name for one in scenarios()]
    assert len(set(names)) == len(names) == 22
