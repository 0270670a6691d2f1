"""Teachers: which files are accepted, what is learnt from them, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from documentation.json_schemas import checked
import numpy as np
from pictures.shapes import CLASSES, write_shapes
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import DataError, ModelError
from resnet_trt_node.training.checkpoints.files import load_file, save_file, TrainedModel
from resnet_trt_node.training.data.augment import normalise
from resnet_trt_node.training.data.dataset import DataSplit, load_data
from resnet_trt_node.training.efficientnet_teacher import EfficientNetTeacher, save_teacher
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.settings import TrainingSettings
from resnet_trt_node.training.teacher import digest_of, distillation_loss, load_teacher
import torch
from torch import nn

pytestmark = pytest.mark.slow

CPU = torch.device('cpu')
SIDE = 32


class Brightness(nn.Module):
    """Logits that a student can learn and no class explains: bright pictures are of class 0."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self._classes = classes

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return (B, C)."""
        light = pictures.mean((1, 2, 3))[:, None]
        return torch.cat([4 * light, -4 * light.expand(-1, self._classes - 1)], dim=1)


def network(seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    return ResNet('resnet18', 3)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp('pictures') / 'set', 12)


@pytest.fixture(scope='module')
def efficient() -> EfficientNetTeacher:
    """Return an EfficientNet-Lite that looks at more pixels than its student has."""
    torch.manual_seed(3)
    return EfficientNetTeacher('efficientnet-lite0', 3, 48, pretrained=False).eval()


@pytest.fixture(scope='module')
def efficient_file(
        efficient: EfficientNetTeacher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    save_teacher(efficient, CLASSES, path)
    return path


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('checkpoint') / 'best.pth'
    save_file({**TrainedModel('resnet18', CLASSES, SIDE, SIDE).to_dict(),
               'state_dict': network(5).state_dict()}, path)
    return path


def test_the_loss_is_the_divergence_of_softened_answers():
    random = np.random.default_rng(0)
    logits, targets = (random.normal(size=(5, 4)) * 3 for _ in range(2))

    def softened(values: Any) -> Any:
        powers = np.exp(values / 2.5)
        return powers / powers.sum(1, keepdims=True)

    p, q = softened(targets), softened(logits)
    expected = (p * np.log(p / q)).sum(1).mean() * 2.5 ** 2
    found = distillation_loss(torch.from_numpy(logits), torch.from_numpy(targets), 2.5)
    assert float(found) == pytest.approx(expected)
    assert float(distillation_loss(torch.from_numpy(targets), torch.from_numpy(targets), 2.5)
                 ) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize('count', [1, 2, 7])
def test_an_efficientnet_answers_batches_of_any_size(
        efficient: EfficientNetTeacher, efficient_file: Path, count: int):
    teacher = load_teacher(efficient_file, CLASSES, SIDE, CPU)
    batch = torch.randn(count, 3, SIDE, SIDE)
    torch.testing.assert_close(teacher(batch), efficient(batch))
    assert not teacher.training


def test_a_checkpoint_answers_in_evaluation_mode(checkpoint: Path):
    teacher = load_teacher(checkpoint, CLASSES, SIDE, CPU)
    batch = torch.randn(4, 3, SIDE, SIDE)
    torch.testing.assert_close(teacher(batch), network(5).eval()(batch))
    assert not any(one.requires_grad for one in teacher.parameters())


def test_what_is_learnt_is_the_teachers_answer(pictures: Path):
    """The teacher contradicts the classes; the student ends nearer to it the larger its share."""
    with DataSplit(pictures) as split:
        data = load_data(split, SIDE, SIDE, CPU)
    teacher = Brightness()
    distances = []
    for share in (0.01, 1.0):
        student = Training(network(), data, TrainingSettings(
            epochs=12, batch_size=16, lr=0.02, min_scale=1.0, teacher='x', teacher_share=share),
            device=CPU, teacher=teacher)
        losses = [metrics.train_loss for metrics in student.epochs()]
        assert losses[-1] < 0.5 * losses[0]
        batch = next(data.train.batches(torch.arange(32), 32)).pictures
        inputs = normalise(batch.permute(0, 3, 1, 2).float())
        with torch.no_grad():
            answer = student.network.eval()(inputs)
        distances.append(float(distillation_loss(answer, teacher(inputs), 1.0)))
    assert distances[1] < 0.3 * distances[0]


def test_the_commands_take_it_and_keep_its_digest(
        pictures: Path, efficient_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ['--batch-size', '16', '--epochs', '1', '--device', 'cpu', '--teacher',
             str(efficient_file)]
    assert main(['train', '--images', str(pictures), '--output', str(tmp_path / 'run'), '--arch',
                 'resnet18', '--weights', 'random', '--image-size', str(SIDE), *words,
                 '--temperature', '3']) == 0
    assert 'teacher: top-1' in capsys.readouterr().err
    settings = checked((tmp_path / 'run' / 'metrics.json').read_text())['settings']
    assert (settings['teacher'], settings['temperature'], settings['teacher_share']) == (
        digest_of(efficient_file), 3.0, 0.9)
    sparse = tmp_path / 'sparse.pth'
    best = str(tmp_path / 'run' / 'best.pth')
    assert main(['prune', best, '--finetune', str(pictures), *words, '-o', str(sparse)]) == 0
    settings = load_file(sparse)['run']['settings']
    assert (settings['teacher'], settings['temperature']) == (digest_of(efficient_file), 2.0)
    # A teacher is not inherited: its file may be gone.
    assert main(['prune', best, '--finetune', str(pictures), *words[:-2], '-o', str(sparse)]) == 0
    assert load_file(sparse)['run']['settings']['teacher'] == ''


def test_damaged_and_missing_files_are_refused(tmp_path: Path, efficient_file: Path):
    path = tmp_path / 'teacher.pth'
    with pytest.raises(ModelError, match='teacher'):
        load_teacher(path, CLASSES, SIDE, CPU)
    path.write_bytes(b'nothing of the kind')
    with pytest.raises(ModelError, match='teacher'):
        load_teacher(path, CLASSES, SIDE, CPU)
    with pytest.raises(ModelError, match=r'cannot read .*teacher'):
        digest_of(tmp_path / 'none.pth')
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(ModelError, match='named pipe'):
        digest_of(tmp_path / 'pipe')
    whole = load_file(efficient_file)
    for change in ({'arch': 'vgg16'}, {'side': 'x'}, {'labels': None}, {'state_dict': {}}):
        save_file({**whole, **change}, path)
        with pytest.raises(ModelError, match=r'damaged .*train it again') as found:
            load_teacher(path, CLASSES, SIDE, CPU)
        assert '\n' not in str(found.value)


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        """Return what the unpickler calls."""
        return Path.touch, (self._path,)


@pytest.mark.parametrize('suffix', ['.pt2', '.pth'])
def test_no_code_of_a_teacher_is_run(tmp_path: Path, suffix: str, pictures: Path, capsys):
    marker, path = tmp_path / 'it ran', tmp_path / f'teacher{suffix}'
    torch.save({'format': 'resnet_trt.teacher/1', 'labels': Marker(marker)}, path)
    with pytest.raises(ModelError, match=r'any code|plain tensors'):
        load_teacher(path, CLASSES, SIDE, CPU)
    program = tmp_path / 'program.pt2'
    torch.export.save(torch.export.export(Brightness(), (torch.zeros(1, 3, 8, 8),)), program)
    assert main(['train', '--images', str(pictures), '--output', str(tmp_path / 'run'),
                 '--weights', 'random', '--arch', 'resnet18', '--teacher', str(program)]) == 2
    assert 'any code' in capsys.readouterr().err
    assert not marker.exists()


def test_other_classes_are_refused(checkpoint: Path, efficient_file: Path, tmp_path: Path):
    with pytest.raises(DataError, match='same order'):
        load_teacher(efficient_file, (*CLASSES, 'star'), SIDE, CPU)
    with pytest.raises(DataError, match='same order'):
        load_teacher(checkpoint, tuple(reversed(CLASSES)), SIDE, CPU)
    wrong = tmp_path / 'wrong.pth'
    save_file({**load_file(checkpoint), 'labels': [*CLASSES, 'star']}, wrong)
    with pytest.raises(DataError, match=r'\(3, 3\) .*\(3, 4\)'):
        load_teacher(wrong, (*CLASSES, 'star'), SIDE, CPU)
    plain = tmp_path / 'plain.pth'
    torch.save(network().state_dict(), plain)
    with pytest.raises(ModelError, match='no checkpoint of'):
        load_teacher(plain, CLASSES, SIDE, CPU)


def test_what_belongs_to_a_teacher_needs_one(
        pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(['train', '--images', str(pictures), '--output', str(tmp_path / 'run'),
                 '--weights', 'random', '--teacher-share', '0.5']) == 2
    assert '--teacher-share' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()
