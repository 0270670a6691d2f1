"""`resnet_trt train` from pictures to a model that evaluates as well as the training said."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
import re
import shutil
import sys
from typing import Any, Callable
from zipfile import ZipFile

from PIL import Image
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import UsageError
from resnet_trt_node.inference.model_file import read_model_spec
from resnet_trt_node.model import download
from resnet_trt_node.model.files import whole_file
from resnet_trt_node.model.learning_curve import draw_learning_curve
from resnet_trt_node.model.network import ResNet
from shapes import CLASSES, write_shapes
import torch

TINY = ('--arch', 'resnet18', '--weights', 'random', '--image-size', '32', '--device', 'cpu',
        '--workers', '1', '--batch-size', '12')
FILES = {'last.pth', 'best.pth', 'metrics.json', 'metrics.csv', 'learning_curve.png'}


@pytest.fixture(scope='module')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shapes divided into train/ and test/."""
    root = tmp_path_factory.mktemp('shapes')
    write_shapes(root / 'train', 16, seed=0)
    write_shapes(root / 'test', 8, seed=1)
    return root


def train(data: Path, out: Path, *words: str) -> int:
    """Run the command."""
    return main(['train', '--data', str(data), '--out', str(out), *TINY, *words])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Return what runs a command that must be refused by one line and leave nothing behind."""
    def run(data: Path, *words: str) -> str:
        capsys.readouterr()
        assert train(data, tmp_path / 'out', *words) == 2
        captured = capsys.readouterr()
        assert captured.out == ''
        assert captured.err.startswith('resnet_trt train: ')
        assert captured.err.count('\n') == 1
        assert not (tmp_path / 'out').exists()
        return captured.err

    return run


@pytest.fixture(scope='module')
def trained(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a training that names shapes well."""
    out = tmp_path_factory.mktemp('trained') / 'run'
    assert train(shapes, out, '--epochs', '12', '--lr', '0.03', '--min-scale', '0.6') == 0
    return out


def test_it_leaves_checkpoints_metrics_and_curve(trained: Path):
    assert {path.name for path in trained.iterdir()} == FILES
    document = json.loads((trained / 'metrics.json').read_text())
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
        trained: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = tmp_path / 'model.onnx'
    assert main(['export', '--weights', str(trained / 'best.pth'), '-o', str(model)]) == 0
    spec = read_model_spec(model)
    assert spec.labels == CLASSES
    assert (spec.architecture, spec.height, spec.resize.short_side) == ('resnet18', 32, 32)
    capsys.readouterr()
    assert main(['evaluate', str(model), '--images', str(shapes / 'test'), '--backend',
                 'onnxruntime', '--threads', '1', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((trained / 'metrics.json').read_text())['summary']
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
        trained: Path, shapes: Path, tmp_path: Path):
    out = tmp_path / 'second'
    words = [word for word in TINY if word not in ('--arch', 'resnet18')]
    # The later of two --weights counts.
    assert main([
        'train', '--data', str(shapes), '--out', str(out), *words, '--epochs', '1', '--weights',
        str(trained / 'best.pth')]) == 0
    assert json.loads((out / 'metrics.json').read_text())['arch'] == 'resnet18'


def test_a_checkpoint_of_another_architecture_names_both(
        trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], shapes: Path):
    best = str(trained / 'best.pth')
    assert main(['export', '--arch', 'resnet50', '--weights', best,
                 '-o', str(tmp_path / 'model.onnx')]) == 2
    assert 'is a trained resnet18, resnet50 was asked for' in capsys.readouterr().err
    assert main(['train', '--data', str(shapes), '--arch', 'resnet34', '--weights', best,
                 '--device', 'cpu', '--out', str(tmp_path / 'out')]) == 2
    assert 'is a trained resnet18, resnet34 was asked for' in capsys.readouterr().err
    torch.save(ResNet('resnet18', 3).state_dict(), tmp_path / 'plain.pth')
    assert main(['train', '--data', str(shapes), '--arch', 'resnet50', '--weights',
                 str(tmp_path / 'plain.pth'), '--device', 'cpu',
                 '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert 'does not fit resnet50' in error
    assert 'looks like resnet18' in error
    assert not list(tmp_path.glob('*.onnx'))
    assert not (tmp_path / 'out').exists()


def test_an_interrupted_run_ends_like_the_unbroken_one(
        shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]):
    words = ('--epochs', '3', '--ema', '0.9', '--mix', 'mixup', '--save-every', '2')
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    assert train(shapes, whole, *words) == 0
    from resnet_trt_node.model.training_folder import TrainingFolder
    keep = TrainingFolder.keep

    def interrupted(folder: Any, training: Any) -> None:
        keep(folder, training)
        if training.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingFolder, 'keep', interrupted)
        assert train(shapes, broken, *words) == 130
    assert 'has a run already' in _refusal(shapes, broken, capsys, *words)
    assert train(shapes, broken, *words, '--resume') == 0
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
    assert train(shapes, broken, *words, '--resume') == 0
    assert (broken / 'last.pth').read_bytes() == before


def _epochs(folder: Path) -> Any:
    return json.loads((folder / 'metrics.json').read_text())['epochs']


def _refusal(data: Path, out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the message of a refusal that changes nothing."""
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    capsys.readouterr()
    assert train(data, out, *words) == 2
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    return capsys.readouterr().err


def test_resuming_another_run_names_what_differs(
        trained: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    same = ('--epochs', '12', '--lr', '0.03', '--min-scale', '0.6', '--resume')
    assert 'epochs: 12, now 13' in _refusal(
        shapes, trained, capsys, *same, '--epochs', '13', '--warmup-epochs', '1.2')
    assert 'arch: resnet18, now resnet34' in _refusal(
        shapes, trained, capsys, *same, '--arch', 'resnet34')
    assert 'image_size: 32, now 40' in _refusal(
        shapes, trained, capsys, *same, '--image-size', '40')
    other = tmp_path / 'other'
    shutil.copytree(shapes, other)
    (other / 'train' / 'cross' / '000.png').rename(other / 'train' / 'circle' / 'new.png')
    assert 'other pictures' in _refusal(other, trained, capsys, *same)


@pytest.mark.parametrize(('words', 'message'), [
    (['--resume'], r'there is no .*last\.pth to continue'),
    (['--batch-size', '1'], '--batch-size 1: choose at least 2'),
    (['--image-size', '16'], '--image-size 16: choose 32 to 4096'),
    (['--resize', '20'], '--resize 20 is smaller than --image-size 32'),
    (['--validation', 'none'], 'there is no folder or zip file none'),
    (['--weights', 'none.pth'], r'no checkpoint at none\.pth'),
    (['--weights', 'imagenet1k_v2'], 'there is no imagenet1k_v2 checkpoint of resnet18'),
    (['--device', 'cuda:77'], 'sees no such GPU'),
    (['--save-every', '0'], '--save-every 0'),
    (['--workers', '-1'], '--workers -1: choose 0 or more'),
    (['--epochs', '2', '--warmup-epochs', '3'], '--warmup-epochs 3')])
def test_what_cannot_be_used_is_one_line_and_nothing_is_left(
        shapes: Path, refused: Callable[..., str], words: list[str], message: str):
    assert re.search(message, refused(shapes, *words))


def test_unreachable_weights_are_one_line(
        shapes: Path, tmp_path: Path, refused: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch):
    def unreachable(url: str) -> object:
        raise OSError('Network is unreachable')

    monkeypatch.setattr(download, '_open', unreachable)
    message = refused(
        shapes, '--weights', 'imagenet1k_v1', '--cache', str(tmp_path / 'cache'))
    assert 'cannot download' in message
    assert '--weights FILE or --weights random' in message


def test_corrupt_pictures_are_listed_and_left_out_on_request(
        tmp_path: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]):
    data = write_shapes(tmp_path / 'data', 5)
    whole = (data / 'circle' / '000.png').read_bytes()
    (data / 'circle' / '000.png').write_bytes(whole[:200])
    message = refused(data, '--epochs', '1')
    assert '1 of 15 pictures' in message
    assert 'circle/000.png' in message
    assert train(data, tmp_path / 'out', '--epochs', '1', '--skip-corrupt', '--json') == 0
    captured = capsys.readouterr()
    assert 'left out circle/000.png' in captured.err
    assert json.loads((tmp_path / 'out' / 'metrics.json').read_text())['corrupt'][0][
        'name'] == 'circle/000.png'
    document = json.loads(captured.out)
    assert document['labels'] == list(CLASSES)
    assert 0 <= document['summary']['last']['top1'] <= 1


def test_file_names_that_are_no_unicode_are_trained_with_and_told(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write_shapes(tmp_path / 'data', 4)
    names = [os.fsdecode(name) for name in (b'caf\xe9.png', b'caf\xe8.png')]
    try:
        shutil.copy(data / 'circle' / '000.png', data / 'circle' / names[0])
    except OSError:
        pytest.skip('this file system takes Unicode only')
    (data / 'circle' / names[1]).write_bytes(b'broken')
    assert train(data, tmp_path / 'out', '--epochs', '1', '--skip-corrupt') == 0
    assert 'left out circle/caf\\udce8.png' in capsys.readouterr().err
    document = json.loads((tmp_path / 'out' / 'metrics.json').read_text(encoding='utf-8'))
    assert document['corrupt'][0]['name'] == f'circle/{names[1]}'
    assert train(data, tmp_path / 'new', '--epochs', '1') == 2
    assert '--skip-corrupt to go on without them; circle/caf\\udce8' in capsys.readouterr().err


@pytest.mark.parametrize(('broken', 'message'), [
    ('empty', 'class folders without pictures'), ('one', 'has one class only, circle'),
    ('stray', "outside of the classes' folders"), ('none', 'has no class folders')])
def test_data_that_cannot_be_used_is_refused(
        tmp_path: Path, refused: Callable[..., str], broken: str, message: str):
    data = write_shapes(tmp_path / 'data', 2)
    if broken == 'empty':
        (data / 'hexagon').mkdir()
    elif broken == 'stray':
        shutil.copy(data / 'cross' / '000.png', data)
    else:
        for name in CLASSES[1 if broken == 'one' else 0:]:
            shutil.rmtree(data / name)
    assert message in refused(data)


def test_a_diverging_training_leaves_nothing(
        shapes: Path, refused: Callable[..., str]):
    message = refused(
        shapes, '--lr', '900', '--warmup-epochs', '0', '--epochs', '3', '--json')
    assert 'choose a lower --lr' in message


def test_a_run_is_not_kept_among_the_pictures(
        shapes: Path, tmp_path: Path, refused: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    # Neither pictures nor weights are read before.
    unread = ('--weights', str(tmp_path / 'missing.pth'))
    assert f'--out {tmp_path}/out lies in --data {tmp_path}, where' in refused(tmp_path, *unread)
    (tmp_path / 'link').symlink_to(tmp_path)
    assert 'lies in --data' in refused(tmp_path / 'link', *unread)
    assert 'lies in --validation' in refused(shapes, '--validation', str(tmp_path), *unread)
    monkeypatch.chdir(tmp_path)
    assert main(['train', '--data', '.', *unread]) == 2
    assert '--out training lies in --data .,' in capsys.readouterr().err
    assert main(['train', '--data', '.', '--out', '.', *unread]) == 2
    assert '--out . lies in --data .,' in capsys.readouterr().err


def test_zip_files_are_trained_with_as_they_are(shapes: Path, tmp_path: Path):
    with ZipFile(tmp_path / 'shapes.zip', 'w') as archive:
        for path in sorted(shapes.rglob('*.png')):
            archive.write(path, path.relative_to(shapes))
    outs = tmp_path / 'zip', tmp_path / 'folder'
    assert train(tmp_path / 'shapes.zip', outs[0], '--epochs', '1') == 0
    assert train(shapes, outs[1], '--epochs', '1') == 0
    losses = [_epochs(out)[0]['validation_loss'] for out in outs]
    assert losses[0] == losses[1]


def test_without_matplotlib_there_is_a_notice_instead_of_a_curve(
        shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert draw_learning_curve([], tmp_path / 'curve.png') is False
    assert train(shapes, tmp_path / 'out', '--epochs', '1') == 0
    assert 'pip install matplotlib' in capsys.readouterr().err
    assert {path.name for path in (tmp_path / 'out').iterdir()} == FILES - {'learning_curve.png'}


def test_a_place_that_cannot_be_written_is_told_before_training(
        shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / 'file').write_text('x')
    assert train(shapes, tmp_path / 'file' / 'out') == 2
    assert 'choose another --out' in capsys.readouterr().err
    with pytest.raises(UsageError, match='cannot write'), \
            whole_file(tmp_path / 'file' / 'out' / 'x'):
        pass


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
    document = json.loads(capsys.readouterr().out)
    assert document['summary']['last']['top1'] >= 0.48  # chance is 0.33 +- 0.04
