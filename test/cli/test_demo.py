"""The demo from outside, with a model that names colours, and how it fails."""

from __future__ import annotations

import os
from pathlib import Path
import re
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

pytestmark = pytest.mark.slow

pytest.importorskip('rclpy', reason='the demo needs ROS 2, which is not installed')
pytest.importorskip('vision_msgs', reason='the demo needs vision_msgs, which is not built')
pytest.importorskip('skimage', reason='the photographs of scikit-image are not installed')
pytest.importorskip('sklearn', reason='the photographs of scikit-learn are not installed')


@pytest.fixture
def tools(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the demo's modules importable; return their folder."""
    monkeypatch.syspath_prepend(repository / 'tools')
    return repository / 'tools'


def start_demo(tools: Path, model: Path, out: Path) -> subprocess.Popen:
    """Start the demo, on this checkout even where another version is installed."""
    return subprocess.Popen(
        [sys.executable, '-u', str(tools / 'demo.py'), '--model', str(model), '--out', str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(
            [str(tools.parent), *filter(None, [os.environ.get('PYTHONPATH')])])})


def test_every_photograph_comes_back_named(tools, colour_model, tmp_path):
    process = start_demo(tools, colour_model, tmp_path / 'demo')
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, out + err
    rows = re.findall(
        r'^(\d+\.\d{3})  (front|left|rear)\s+(\w+)\s+([\d.]+) ms  (.+)$', out, re.MULTILINE)
    assert [row[1] for row in rows].count('rear') == 4
    assert len(rows) == len({row[:2] for row in rows}) == 12
    best = {row[1:3]: row[4].split()[0] for row in rows}
    # The rocket stands before a dark sky, raw as well as compressed; the palace before a bright.
    assert best['front', 'rocket'] == best['rear', 'rocket'] == 'black'
    assert best['left', 'palace'] == best['rear', 'palace'] == 'white'
    assert all(float(row[3]) > 0 for row in rows)
    assert 'All 12 images' in out
    sheet = np.asarray(Image.open(tmp_path / 'demo' / 'contact_sheet.png'))
    assert sheet.shape[1] > 4 * 480
    assert len(list((tmp_path / 'demo' / 'annotated').iterdir())) == 12


def test_a_model_that_is_not_there_is_one_line(tools, tmp_path):
    process = start_demo(tools, tmp_path / 'missing.onnx', tmp_path / 'demo')
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert err.startswith('demo: no model at')
    assert len(err.splitlines()) == 1


def test_ctrl_c_ends_the_demo_and_its_node(tools, colour_model, tmp_path):
    process = start_demo(tools, colour_model, tmp_path / 'demo')
    for line in process.stdout:
        if '$ classifier_node' in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, out + err
    assert 'Traceback' not in err
    assert err.splitlines()[-1] == 'demo: stopped'


def test_a_node_that_ends_by_itself_is_an_error_with_its_log(tools, tmp_path):
    from bench import BenchError
    from bench.children import wait_until
    import demo
    with demo.start_node('node', {'model_path': 'missing.onnx'}, tmp_path) as node, \
            pytest.raises(BenchError, match='exit code 2'):
        wait_until(lambda: False, 'the node to be ready', 60, [node])


def test_each_way_to_miss_a_frame_is_named(tools):
    import demo
    from demo_steps.listener import Result
    images = dict.fromkeys([('front', 1), ('front', 2), ('left', 1)])
    answer = [Result(0, (('cat', 0.5),))]
    complete = dict.fromkeys(images, answer)
    assert demo.find_problems(images, complete) == []
    wrong = {('front', 1): answer * 2, ('left', 1): answer, ('left', 3): answer}
    problems = demo.find_problems(images, wrong)
    assert len(problems) == 3
    for problem, keywords in zip(
            problems, ('2 .*front.* 1 ns', 'left.* 3 ns', 'no .*front.* 2 ns')):
        assert re.search(keywords, problem)
