"""The recipe from pictures to measured models, run small: each step makes what it announces."""

from __future__ import annotations

import json
import os
from pathlib import Path
import shutil
import subprocess
import sys

from documentation.json_schemas import checked
import onnx
from pictures.shapes import CLASSES, write_shapes
import pytest
from repository import REPOSITORY
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.sparsity import layer_weights, two_four_layers
from resnet_trt_node.training.teacher import digest_of
import stalled

pytestmark = pytest.mark.slow

RECIPE = REPOSITORY / 'examples' / 'cifar10' / 'recipe.sh'
SMALL = {
    'PY': sys.executable, 'PY_TRT': '', 'BACKEND': 'onnxruntime', 'ARCH': 'resnet18', 'SIZE': '32',
    'EPOCHS': '16', 'TUNE_EPOCHS': '1', 'TRAIN_BATCH': '16', 'LR': '0.03', 'EMA': '0',
    'PICTURES': '40',
    'TEACHER_OPTIONS': '--side 64 --epochs 2 --lr 0.02', 'BATCH': '8', 'SECONDS_A_ROW': '0.05'}
FORMS = ('fp16', 'int8', 'sparse_fp16', 'sparse_int8')


def run(data, work, *steps, **variables):
    return stalled.run(
        ['bash', str(RECIPE), str(data), str(work), *steps],
        env={**os.environ, **SMALL, **variables})


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_shapes(folder / 'set' / 'train', 32)
    write_shapes(folder / 'set' / 'test', 10, seed=1)
    return Path(shutil.make_archive(str(folder / 'shapes'), 'zip', folder / 'set'))


@pytest.fixture(scope='module')
def work(data, kept, tmp_path_factory):
    def make(folder):
        done = run(data, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    made = kept('recipe', make, Path(__file__), RECIPE, RECIPE.with_name('teacher.py'))
    # The tests go on with it; the kept one stays as it is.
    return Path(shutil.copytree(made, tmp_path_factory.mktemp('recipe') / 'work'))


def test_each_step_is_timed(work):
    names = [line.rsplit(' ', 1)[0] for line in (work / 'seconds.txt').read_text().splitlines()]
    assert names == ['teacher', 'train', 'prune', 'quantize', 'sparse_quantize', *(
        f'evaluate {form}' for form in FORMS), 'latency']


def test_the_training_was_given_the_teacher(work):
    # What is learnt from one is tested in test_teacher.py, where the teacher knows something: this
    # one knows next to nothing after two epochs, and the loss against its answers may well rise.
    metrics = checked((work / 'train' / 'metrics.json').read_text())
    assert metrics['settings']['teacher'] == digest_of(work / 'teacher.pth')
    assert [epoch['epoch'] for epoch in metrics['epochs']] == list(range(1, 17))


@pytest.mark.parametrize(('form', 'precision'), [
    ('fp32', 'fp32'), ('fp16', 'fp16'), ('int8', 'int8'), ('sparse_fp32', 'fp32'),
    ('sparse_fp16', 'fp16'), ('sparse_int8', 'int8')])
def test_each_model_is_what_its_name_stands_for(work, form, precision):
    model = onnx.load(str(work / f'{form}.onnx'))
    spec = read_model_spec(work / f'{form}.onnx')
    assert (spec.precision, spec.labels) == (precision, CLASSES)
    able = {one.layer for one in layer_weights(model) if not one.why_dense} - {'fc'}
    assert len(able) == 19
    assert set(two_four_layers(model)) == (able if form.startswith('sparse') else set())


@pytest.mark.parametrize('form', FORMS)
def test_accuracy_is_measured_on_all_test_pictures(work, form):
    document = checked((work / f'{form}.json').read_text())
    assert Path(document['model']).name == 'fp32.onnx'
    assert Path(document['comparison']['model']).name == f'{form}.onnx'
    assert document['count'] == 30
    # 16 epochs teach some of it; three classes by chance are a third.
    assert document['top1']['accuracy'] > 0.45
    if form in ('fp16', 'int8'):
        # 30 pictures, some of which the small network can hardly decide.
        assert document['comparison']['agreement']['rate'] >= {'fp16': 0.95, 'int8': 0.8}[form]


def test_latency_is_measured_of_every_form(work):
    document = checked((work / 'latency' / 'compare.json').read_text())
    assert [row['label'] for row in document['rows']] == ['fp32', *FORMS]
    assert [[found['batch_size'] for found in row['latency']] for row in document['rows']] == [
        [1, 8]] * 5
    assert (work / 'latency' / 'report.md').is_file()


def test_what_is_there_is_not_made_again(data, work):
    before = {path: path.stat().st_mtime_ns for path in (
        work / 'train' / 'best.pth', work / 'sparse.pth', work / 'int8.onnx', work / 'int8.json',
        work / 'latency' / 'compare.json')}
    # Without matplotlib there is none.
    (work / 'train' / 'learning_curve.png').unlink()
    done = run(data, work, 'teacher', 'train', 'prune', 'models', 'accuracy', 'latency')
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(('code', 'ends_with'), [(1, 0), (2, 2)])
def test_a_comparison_may_disagree_but_not_fail(data, tmp_path, code, ends_with):
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nexit {code}\n')
    python.chmod(0o755)
    assert run(data, tmp_path / 'work', 'latency', PY=str(python)).returncode == ends_with


def test_an_interrupted_training_goes_on(data, work, tmp_path):
    begun = tmp_path / 'work'
    shutil.copytree(work / 'train', begun / 'train')
    metrics = begun / 'train' / 'metrics.json'
    # As it is between two epochs; the teacher is part of what the run is.
    metrics.write_text(json.dumps({
        key: value for key, value in checked(metrics.read_text()).items() if key != 'summary'}))
    shutil.copy(work / 'teacher.pth', begun)
    done = run(data, begun, 'train')
    assert done.returncode == 0, done.stderr
    assert 'summary' in checked(metrics.read_text())


def test_the_usage_is_shown_without_arguments():
    done = subprocess.run(['bash', str(RECIPE)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('usage: examples/cifar10/recipe.sh DATA.zip WORK_FOLDER')


def test_a_place_that_will_not_do_is_reported_before_the_teacher_trains(data, tmp_path):
    script = RECIPE.with_name('teacher.py')
    for out, words in ((tmp_path, 'is a folder'), ('/proc/a.pth', 'cannot write')):
        done = subprocess.run(
            [sys.executable, str(script), str(data), str(out)], capture_output=True, text=True,
            check=False, env={**os.environ, 'PYTHONPATH': str(RECIPE.parents[2])})
        assert done.returncode == 2
        assert done.stderr.startswith('teacher.py: ')
        assert words in done.stderr


def test_an_unknown_step_is_refused(data, tmp_path):
    done = run(data, tmp_path / 'work', 'trian')
    assert done.returncode == 2
    assert 'unknown step trian' in done.stderr
