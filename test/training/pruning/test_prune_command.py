"""The command prune: checkpoints and models, fine-tuning, and one line for every mistake."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
from documentation.json_schemas import checked
import numpy as np
import onnx
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.sparsity import two_four_layers
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.deployable import WrittenModel
from resnet_trt_node.training import loop as training_module
from resnet_trt_node.training.checkpoints.files import load_file, TrainedModel
from resnet_trt_node.training.data.dataset import DataSplit, load_data
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.metrics import measure, Score
from resnet_trt_node.training.networks.random_weights import initialise
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.pruning.checkpoint import (
    fine_tune, open_checkpoint, save_pruned, tuning_settings)
from resnet_trt_node.training.pruning.masks import check_two_four, TwoFourMasks
from resnet_trt_node.training.settings import TrainingSettings
import torch

pytestmark = pytest.mark.slow

CLASSES = ('blue', 'green', 'red')
SIDE = 32
PRUNED = 19


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make class folders of small noisy pictures, each of its class's colour."""
    folder = tmp_path_factory.mktemp('pictures')
    random = np.random.default_rng(0)
    for channel, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for number in range(12):
            picture = random.integers(0, 160, (SIDE, SIDE, 3))
            picture[..., channel] += 60
            cv2.imwrite(str(folder / name / f'{number}.png'), picture.astype(np.uint8))
    return folder


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what `resnet_trt train` leaves, of a network that has learnt nothing."""
    network = ResNet('resnet18', len(CLASSES))
    initialise(network, 1)
    path = tmp_path_factory.mktemp('checkpoint') / 'best.pth'
    model = TrainedModel('resnet18', CLASSES, SIDE, SIDE)
    torch.save({**model.to_dict(), 'state_dict': network.state_dict(),
                'run': {'settings': asdict(TrainingSettings(
                    epochs=30, label_smoothing=0.05, min_scale=0.5))}}, path)
    return path


def tuned(training: Training) -> Score:
    for _ in training.epochs():
        pass
    return training.validate(full_precision=True)


def prune(*words: object) -> int:
    return main(['prune', *map(str, words)])


def test_fine_tuning_keeps_the_masks_after_every_step_and_learns(
        pictures: Path, checkpoint: Path) -> None:
    """Few steps on 27 pictures; the average of the weights is masked as well."""
    source = open_checkpoint(checkpoint)
    masks = TwoFourMasks(source.network)
    steps = []

    def watched(network: torch.nn.Module) -> None:
        # An optimiser's step fills the zeros: without the mask this would not be 2:4.
        steps.append(float(network.get_parameter('layer1.0.conv1.weight').detach().abs().min()))
        masks(network)
        check_two_four(network, masks.layers)

    settings = tuning_settings(
        source, {'epochs': 6, 'batch_size': 9, 'lr': 0.005, 'warmup_epochs': 0.5, 'ema': 0.5})
    with DataSplit(pictures) as split:
        data = load_data(split, SIDE, SIDE, torch.device('cpu'))
        losses = []
        masks(source.network)
        training = Training(
            source.network, data, settings, device=torch.device('cpu'), after_step=watched)
        for metrics in training.epochs():
            losses.append(metrics.train_loss)
    assert len(steps) == 2 * 6 * 3
    assert max(steps) > 0
    assert losses[-1] < 0.8 * losses[0]
    check_two_four(training.result, masks.layers)
    check_two_four(training.network, masks.layers)


def test_a_fine_tuned_network_is_two_four_up_to_the_engine(
        pictures: Path, checkpoint: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'new' / 'sparse.pth'
    assert prune(checkpoint, '-o', out, '--finetune', pictures, '--epochs', 4, '--batch-size', 9,
                 '--lr', 0.005, '--device', 'cpu', '--run-dir', tmp_path / 'run', '--json') == 0
    report = checked(capsys.readouterr().out)
    assert sum(not one['why_dense'] for one in report['layers']) == PRUNED
    accuracy = report['accuracy']
    assert accuracy['dense'] != accuracy['pruned'] != accuracy['tuned']
    content = load_file(out)
    assert (content['sparsity'], len(content['sparse_layers'])) == ('2:4', PRUNED)
    assert content['source'] == 'best.pth, pruned 2:4'
    # As it was trained, but for what is a fine-tuning's own.
    settings = content['run']['settings']
    assert (settings['label_smoothing'], settings['min_scale']) == (0.05, 0.5)
    assert (settings['epochs'], settings['batch_size'], settings['warmup_epochs']) == (4, 9, 0.4)
    again = open_checkpoint(out)
    assert again.trained == TrainedModel('resnet18', CLASSES, SIDE, SIDE)
    check_two_four(again.network, content['sparse_layers'])
    export_resnet(None, out, tmp_path / 'sparse.onnx')
    assert two_four_layers(onnx.load(str(tmp_path / 'sparse.onnx'))) == content['sparse_layers']
    metrics = checked((tmp_path / 'run' / 'metrics.json').read_text())
    losses = [one['train_loss'] for one in metrics['epochs']]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert metrics['summary']['last'] == accuracy['tuned']


def test_a_resumed_run_equals_the_unbroken_one(
        pictures: Path, checkpoint: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    words = [checkpoint, '--finetune', pictures, '--epochs', 2, '--batch-size', 9, '--device',
             'cpu', '--run-dir']
    assert prune(*words, tmp_path / 'whole', '-o', tmp_path / 'whole.pth') == 0
    measured = []

    def interrupt(*arguments: Any) -> Score:
        measured.append(arguments)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training_module, 'measure', interrupt)
        assert prune(*words, tmp_path / 'run', '-o', tmp_path / 'broken.pth') == 130
    assert not (tmp_path / 'broken.pth').exists()
    assert prune(*words, tmp_path / 'run', '-o', tmp_path / 'broken.pth', '--resume') == 0
    whole, broken = (
        load_file(tmp_path / name)['state_dict'] for name in ('whole.pth', 'broken.pth'))
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())


def test_a_run_of_another_network_or_other_masks_is_not_resumed(
        pictures: Path, checkpoint: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    words = ['--finetune', pictures, '--batch-size', 9, '--device', 'cpu', '--epochs', 1,
             '-o', tmp_path / 'out.pth', '--run-dir', tmp_path / 'run']
    assert prune(checkpoint, *words) == 0
    # Of the same name, as all are that `train` writes.
    other = tmp_path / 'other' / checkpoint.name
    other.parent.mkdir()
    content = load_file(checkpoint)
    content['state_dict']['fc.bias'] = content['state_dict']['fc.bias'] + 1
    torch.save(content, other)
    for mistake in ((other, *words), (checkpoint, *words, '--fully-connected')):
        assert 'differs' in refused(capsys, *mistake, '--resume')


def test_a_pruned_network_can_be_tuned_further(
        pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    assert prune(checkpoint, '-o', tmp_path / 'one.pth') == 0
    source = open_checkpoint(tmp_path / 'one.pth')
    masks = TwoFourMasks(source.network)
    assert all(one.kept == 1.0 for one in masks.reports)
    with DataSplit(pictures) as split:
        data = load_data(split, SIDE, SIDE, torch.device('cpu'))
        network, tuning = fine_tune(
            source, masks, data, TrainingSettings(epochs=1, batch_size=9, lr=0.01), tuned,
            device=torch.device('cpu'))
    assert tuning.dense == tuning.pruned
    before = load_file(tmp_path / 'one.pth')['state_dict']
    for name in masks.layers:
        weight = network.get_submodule(name).weight
        assert not weight[before[f'{name}.weight'] == 0].any()


def test_pruning_alone_reports_each_layer(
        checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune(checkpoint, '-o', tmp_path / 'sparse.pth') == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == f'{tmp_path / "sparse.pth"}: 2:4 in {PRUNED} of 21 layers'
    rows = [line.split() for line in lines[2:]]
    assert rows[0][:3] == ['conv1', '64x3x7x7', '0.0']
    assert lines[2].endswith('left dense: 3 inputs, no multiple of 4')
    assert lines[-1].endswith('left dense: fully connected')
    assert rows[1][:3] == ['layer1.0.conv1', '64x64x3x3', '50.0']
    assert '--finetune DIR' in captured.err


def test_what_is_not_two_four_is_not_written(checkpoint: Path, tmp_path: Path) -> None:
    found = open_checkpoint(checkpoint)
    masks = TwoFourMasks(found.network)
    with pytest.raises(ModelError, match='not 2:4: layer1'):
        save_pruned(tmp_path / 'sparse.pth', found.network, masks, found, found.trained)
    assert not list(tmp_path.iterdir())


def test_a_plain_state_dict_is_pruned(tmp_path: Path) -> None:
    network = ResNet('resnet18', 4)
    initialise(network, 2)
    torch.save(network.state_dict(), tmp_path / 'plain.pth')
    assert prune(tmp_path / 'plain.pth', '-o', tmp_path / 'sparse.pth', '--fully-connected') == 0
    assert load_file(tmp_path / 'sparse.pth')['sparse_layers'][-1] == 'fc'
    export_resnet('resnet18', tmp_path / 'sparse.pth', tmp_path / 'sparse.onnx', image_size=SIDE)
    assert len(two_four_layers(onnx.load(str(tmp_path / 'sparse.onnx')))) == PRUNED + 1


def test_a_model_is_pruned(
        resnet18: WrittenModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune(resnet18.path, '-o', tmp_path / 'sparse.onnx', '--json') == 0
    report = checked(capsys.readouterr().out)
    assert report['accuracy'] is None
    (tmp_path / 'COPY.ONNX').write_bytes(resnet18.path.read_bytes())
    assert prune(tmp_path / 'COPY.ONNX', '-o', tmp_path / 'copy.onnx') == 0
    assert '--finetune' not in capsys.readouterr().err
    assert len(two_four_layers(onnx.load(str(tmp_path / 'sparse.onnx')))) == PRUNED
    assert main(['inspect', str(tmp_path / 'sparse.onnx')]) == 0
    assert f'sparsity    2:4 in {PRUNED} layers' in capsys.readouterr().out
    assert main(['inspect', str(resnet18.path)]) == 0
    assert 'sparsity' not in capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must fail, and return its one line."""
    capsys.readouterr()
    assert prune(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    error = captured.err.strip()
    assert error.startswith('resnet_trt prune: ')
    assert 'Traceback' not in error
    return error


def test_mistakes_are_reported_in_one_line(
        checkpoint: Path, resnet18: WrittenModel, pictures: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    out, model = tmp_path / 'out.pth', resnet18.path
    tune = ('--finetune', pictures, '--device', 'cpu')
    for words, message in (
            ((checkpoint, '-o', out, '--sparsity', '1:4'), "sparsity '1:4': choose 2:4"),
            ((tmp_path / 'none.pth', '-o', out), 'no checkpoint at'),
            ((tmp_path / 'none.onnx', '-o', tmp_path / 'out.onnx'), 'no model at'),
            ((checkpoint, '-o', tmp_path / 'out.onnx'), 'resnet_trt export --weights'),
            ((model, '-o', out), 'is an ONNX model and'),
            ((model, '-o', tmp_path / 'out.onnx', *tune), 'cannot be trained on'),
            ((checkpoint, '-o', tmp_path), 'is a folder'),
            ((checkpoint, '-o', '/proc/out.pth'), 'choose another place'),
            ((checkpoint, '-o', out, '--epochs', 3), '--epochs is for'),
            ((checkpoint, '-o', out, *tune, '--resume'), '--resume needs'),
            ((tmp_path / 'none.pth', '-o', pictures / 'new' / 'out.pth', *tune),
             f'--output {pictures}/new lies in --finetune'),
            ((tmp_path / 'none.pth', '-o', out, *tune, '--run-dir', pictures / 'run'),
             f'--run-dir {pictures}/run lies in --finetune'),
            ((checkpoint, '-o', out, *tune, '--validation', tmp_path, '--run-dir',
              tmp_path / 'run'), f'lies in --validation {tmp_path}, where'),
            ((checkpoint, '-o', out, *tune, '--lr', -1), '--lr -1.0: choose'),
            ((checkpoint, '-o', out, *tune, '--image-size', 64), 'was trained with 32'),
            ((checkpoint, '-o', out, '--finetune', tmp_path / 'nowhere'), 'nowhere')):
        assert message in refused(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_other_classes_are_refused(
        checkpoint: Path, pictures: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / 'pictures'
    for name in ('blue', 'green', 'violet'):
        (other / name).mkdir(parents=True)
        for file in sorted((pictures / 'red').iterdir())[:3]:
            (other / name / file.name).write_bytes(file.read_bytes())
    words = (checkpoint, '-o', tmp_path / 'out.pth', '--device', 'cpu', '--finetune', other)
    assert 'class 2 of the pictures' in refused(capsys, *words)
    for file in (other / 'violet').iterdir():
        file.unlink()
    (other / 'violet').rmdir()
    assert 'have 2 classes' in refused(capsys, *words)
    assert not (tmp_path / 'out.pth').exists()


def test_other_files_are_refused(
        checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({'weight': torch.zeros(3)}, tmp_path / 'other.pth')
    assert 'no ResNet' in refused(
        capsys, tmp_path / 'other.pth', '-o', tmp_path / 'out.pth')
    content = load_file(checkpoint)
    torch.save({**content, 'sparsity': '2:4', 'sparse_layers': ['layer1.0.conv1']},
               tmp_path / 'liar.pth')
    assert 'liar.pth: not 2:4: layer1.0.conv1' in refused(
        capsys, tmp_path / 'liar.pth', '-o', tmp_path / 'out.pth')
    torch.save({**content, 'run': {'settings': {'ema': 'much'}}}, tmp_path / 'odd.pth')
    (tmp_path / 'data' / 'blue').mkdir(parents=True)
    assert 'malformed' in refused(
        capsys, tmp_path / 'odd.pth', '-o', tmp_path / 'out.pth', '--finetune',
        tmp_path / 'data')
    assert not (tmp_path / 'out.pth').exists()
