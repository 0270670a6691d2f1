"""`resnet_trt train` from pictures to a model that evaluates as well as the training reported."""

from __future__ import annotations

import csv
from pathlib import Path
import shutil
import sys
from typing import Any
from zipfile import ZipFile

from commands.train_command import TINY, train
from documentation.json_schemas import checked
from kept import Kept
from pictures.shapes import CLASSES
from PIL import Image
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.training.learning_curve import draw_learning_curve
from resnet_trt_node.training.networks.resnet import ResNet
import torch

pytestmark = pytest.mark.slow

FILES = {'last.pth', 'best.pth', 'metrics.json', 'metrics.csv', 'learning_curve.png'}


@pytest.fixture(scope='module')
def trained(divided_shapes: Path, kept: Kept) -> Path:
    """Return the folder of a training that names shapes well."""
    def make(folder: Path) -> None:
        assert train(divided_shapes, folder / 'run', '--epochs', '12', '--lr', '0.03',
                     '--min-scale', '0.6') == 0
    return kept('trained', make, Path(__file__)) / 'run'


def test_it_leaves_checkpoints_metrics_and_curve(trained: Path):
    assert {path.name for path in trained.iterdir()} == FILES
    document = checked((trained / 'metrics.json').read_text())
    assert document['labels'] == list(CLASSES)
    assert (document['pictures'], document['validation_pictures']) == (48, 24)
    rows = list(csv.DictReader((trained / 'metrics.csv').open()))
    assert [int(row['epoch']) for row in rows] == list(range(1, 13))
    for row, epoch in zip(rows, document['epochs']):
        assert float(row['validation_top1']) == epoch['validation_top1']
    best = max(epoch['validation_top1'] for epoch in document['epochs'])
    assert document['summary']['best']['top1'] == best
    assert best >= 0.85  # chance is a third
    with Image.open(trained / 'learning_curve.png') as picture:
        assert picture.width > 800
        assert len(picture.convert('L').getcolors(256) or []) > 5  # not an empty sheet


def test_the_exported_model_is_as_accurate_without_another_option(
        trained: Path, divided_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = tmp_path / 'model.onnx'
    assert main(['export', '--weights', str(trained / 'best.pth'), '-o', str(model)]) == 0
    spec = read_model_spec(model)
    assert spec.labels == CLASSES
    assert (spec.architecture, spec.height, spec.resize.short_side) == ('resnet18', 32, 32)
    capsys.readouterr()
    assert main(['evaluate', str(model), '--images', str(divided_shapes / 'test'), '--backend',
                 'onnxruntime', '--threads', '1', '--json']) == 0
    found = checked(capsys.readouterr().out)
    summary = checked((trained / 'metrics.json').read_text())['summary']
    assert found['count'] == 24
    assert found['top1']['accuracy'] == pytest.approx(summary['best']['top1'])


def test_given_options_go_before_those_of_the_checkpoint(trained: Path, tmp_path: Path):
    names = tmp_path / 'names.txt'
    names.write_text('round\nplus\nbox\n')
    model = tmp_path / 'model.onnx'
    assert main(['export', '--weights', str(trained / 'last.pth'), '--labels', str(names),
                 '--image-size', '64', '--resize', '70', '-o', str(model)]) == 0
    spec = read_model_spec(model)
    assert spec.labels == ('round', 'plus', 'box')
    assert (spec.height, spec.resize.short_side) == (64, 70)


def test_the_architecture_is_the_checkpoints_if_none_is_named(
        trained: Path, divided_shapes: Path, tmp_path: Path):
    out = tmp_path / 'second'
    words = [word for word in TINY if word not in ('--arch', 'resnet18')]
    # The later of two --weights counts.
    assert main([
        'train', '--images', str(divided_shapes), '--output', str(out), *words, '--epochs', '1',
        '--weights', str(trained / 'best.pth')]) == 0
    assert checked((out / 'metrics.json').read_text())['arch'] == 'resnet18'


def test_a_checkpoint_of_another_architecture_names_both(
        trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], divided_shapes: Path):
    best = str(trained / 'best.pth')
    assert main(['export', '--arch', 'resnet50', '--weights', best,
                 '-o', str(tmp_path / 'model.onnx')]) == 2
    assert 'trained resnet18, resnet50 ' in capsys.readouterr().err
    assert main(['train', '--images', str(divided_shapes), '--arch', 'resnet34', '--weights', best,
                 '--device', 'cpu', '--output', str(tmp_path / 'out')]) == 2
    assert 'trained resnet18, resnet34 ' in capsys.readouterr().err
    torch.save(ResNet('resnet18', 3).state_dict(), tmp_path / 'plain.pth')
    assert main(['train', '--images', str(divided_shapes), '--arch', 'resnet50', '--weights',
                 str(tmp_path / 'plain.pth'), '--device', 'cpu',
                 '--output', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert 'resnet50' in error
    assert 'looks like resnet18' in error
    assert not list(tmp_path.glob('*.onnx'))
    assert not (tmp_path / 'out').exists()


def test_an_interrupted_run_ends_like_the_unbroken_one(
        divided_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]):
    words = ('--epochs', '3', '--ema', '0.9', '--mix', 'mixup', '--save-every', '2')
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    assert train(divided_shapes, whole, *words) == 0
    from resnet_trt_node.training.folder import TrainingFolder
    keep = TrainingFolder.keep

    def interrupted(folder: Any, training: Any) -> None:
        keep(folder, training)
        if training.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingFolder, 'keep', interrupted)
        assert train(divided_shapes, broken, *words) == 130
    assert f'stopped; {broken}' in capsys.readouterr().err
    assert 'a run already' in _refusal(divided_shapes, broken, capsys, *words)
    assert train(divided_shapes, broken, *words, '--resume') == 0
    for name in ('last.pth', 'best.pth'):
        one, other = (
            torch.load(folder / name, weights_only=True) for folder in (whole, broken))
        assert one['epoch'] == other['epoch']
        for key, value in one['state_dict'].items():
            assert torch.equal(value, other['state_dict'][key]), key
    momenta = [
        [state['momentum_buffer'] for state in torch.load(
            folder / 'last.pth', weights_only=True)['training']['optimizer']['state'].values()]
        for folder in (whole, broken)]
    assert all(torch.equal(one, other) for one, other in zip(*momenta))
    assert [one['validation_loss'] for one in _epochs(whole)] == [
        one['validation_loss'] for one in _epochs(broken)]
    # Once more changes nothing: it is done.
    before = (broken / 'last.pth').read_bytes()
    assert train(divided_shapes, broken, *words, '--resume') == 0
    assert (broken / 'last.pth').read_bytes() == before


def _epochs(folder: Path) -> Any:
    return checked((folder / 'metrics.json').read_text())['epochs']


def _refusal(data: Path, out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the message of a refusal that changes nothing."""
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    capsys.readouterr()
    assert train(data, out, *words) == 2
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    return capsys.readouterr().err


def test_resuming_another_run_names_what_differs(
        trained: Path, divided_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    same = ('--epochs', '12', '--lr', '0.03', '--min-scale', '0.6', '--resume')
    assert 'epochs: 12, now 13' in _refusal(
        divided_shapes, trained, capsys, *same, '--epochs', '13', '--warmup-epochs', '1.2')
    assert 'arch: resnet18, now resnet34' in _refusal(
        divided_shapes, trained, capsys, *same, '--arch', 'resnet34')
    assert 'image_size: 32, now 40' in _refusal(
        divided_shapes, trained, capsys, *same, '--image-size', '40')
    other = tmp_path / 'other'
    shutil.copytree(divided_shapes, other)
    (other / 'train' / 'cross' / '000.png').rename(other / 'train' / 'circle' / 'new.png')
    assert 'other pictures' in _refusal(other, trained, capsys, *same)


@pytest.mark.parametrize('lost', ['run', 'best', 'training.optimizer', 'training.network'])
def test_a_damaged_run_is_not_resumed(
        trained: Path, divided_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        lost: str):
    content = torch.load(trained / 'last.pth', weights_only=True)
    group, _, name = lost.rpartition('.')
    del (content[group] if group else content)[name]
    torch.save(content, tmp_path / 'last.pth')
    error = _refusal(
        divided_shapes, tmp_path, capsys, '--epochs', '12', '--lr', '0.03', '--min-scale', '0.6',
        '--resume')
    assert f"{tmp_path / 'last.pth'} is damaged (KeyError: '{name}')" in error


def test_zip_files_are_trained_with_as_they_are(divided_shapes: Path, tmp_path: Path):
    with ZipFile(tmp_path / 'shapes.zip', 'w') as archive:
        for path in sorted(divided_shapes.rglob('*.png')):
            archive.write(path, path.relative_to(divided_shapes))
    outs = tmp_path / 'zip', tmp_path / 'folder'
    assert train(tmp_path / 'shapes.zip', outs[0], '--epochs', '1') == 0
    assert train(divided_shapes, outs[1], '--epochs', '1') == 0
    losses = [_epochs(out)[0]['validation_loss'] for out in outs]
    assert losses[0] == losses[1]


def test_without_matplotlib_there_is_a_notice_instead_of_a_curve(
        divided_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert draw_learning_curve([], '', tmp_path / 'curve.png') is False
    assert train(divided_shapes, tmp_path / 'out', '--epochs', '1') == 0
    assert 'pip install matplotlib' in capsys.readouterr().err
    assert {path.name for path in (tmp_path / 'out').iterdir()} == FILES - {'learning_curve.png'}


def test_cifar_pictures_are_learnt(
        shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """300 real pictures of three classes, a few steps: better than chance by far."""
    archive = shared_data / 'cifar10-35k.zip'
    if not archive.is_file():
        pytest.skip(f'no cifar10-35k.zip in {shared_data}')
    with ZipFile(archive) as source:
        names = source.namelist()
        for part, count in (('train', 150), ('test', 40)):
            for kind in ('airplane', 'frog', 'truck'):
                chosen = [name for name in names if name.startswith(f'{part}/{kind}/')]
                source.extractall(tmp_path / 'data', chosen[:count])
    assert train(tmp_path / 'data', tmp_path / 'out', '--epochs', '8', '--lr', '0.02',
                 '--batch-size', '30', '--min-scale', '0.5', '--json') == 0
    document = checked(capsys.readouterr().out)
    assert document['summary']['last']['top1'] >= 0.48  # chance is 0.33 +- 0.04
