"""What a step of training does with its numbers: losses, learning rates, modes, measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.shades import Shades, shades
from pictures.shapes import write_shapes
import pytest
from resnet_trt_node.errors import BackendError, UsageError
from resnet_trt_node.training import loop as training_module
from resnet_trt_node.training import metrics as measurement
from resnet_trt_node.training.data.augment import plan_epoch
from resnet_trt_node.training.data.dataset import DataSplit
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.metrics import measure
from resnet_trt_node.training.schedule import learning_rate
from resnet_trt_node.training.settings import TrainingSettings
import torch
from torch import nn
from torch.nn import functional

pytestmark = pytest.mark.slow

CPU = torch.device('cpu')


def trained(count: int = 5, after_step: Any = None, **values: Any) -> Training:
    """Return a training that is done."""
    training = Training(
        Shades(), shades(count), TrainingSettings(**{'batch_size': count, **values}), device=CPU,
        after_step=after_step)
    list(training.epochs())
    return training


@pytest.mark.parametrize('smoothing', [0.0, 0.3])
@pytest.mark.parametrize('mix', ['none', 'mixup'])
def test_the_loss_is_that_of_the_smoothed_and_mixed_classes(smoothing, mix):
    training = trained(epochs=1, label_smoothing=smoothing, mix=mix, seed=3)
    plan = plan_epoch(training.settings, 5, 1, 0, CPU)
    targets = (torch.arange(5) % 3)[plan.order]
    network: Any = training.network

    def loss(wanted: torch.Tensor) -> float:
        return float(functional.cross_entropy(
            network.answers[0], wanted, label_smoothing=smoothing))

    share = plan.shares[0]
    assert (share == 1) == (mix == 'none')
    expected = share * loss(targets) + (1 - share) * loss(torch.roll(targets, -1))
    assert training.history[0].train_loss == pytest.approx(expected, rel=1e-5)
    # A mixed picture has no one right answer.
    assert (training.history[0].train_top1 is None) == (mix != 'none')


def test_every_step_has_its_learning_rate_and_the_last_is_reported():
    rates: list[float] = []
    training: list[Training] = []

    def note(network: nn.Module) -> None:
        rates.append(training[0]._optimizer.param_groups[1]['lr'])

    data, settings = shades(9), TrainingSettings(epochs=3, batch_size=3, lr=0.4, warmup_epochs=1.3)
    training.append(Training(Shades(), data, settings, device=CPU, after_step=note))
    reported = [one.lr for one in training[0].epochs()]
    assert rates == pytest.approx([learning_rate(step, 9, 4, 0.4) for step in range(9)])
    assert reported == pytest.approx(rates[2::3])


def test_batch_norm_learns_in_steps_and_not_while_measured():
    network: Any = trained(epochs=2).network
    assert network.modes == [True, False, True, False]
    assert int(network.norm.num_batches_tracked) == 2


def test_the_scale_of_the_loss_is_resumed(monkeypatch):
    monkeypatch.setattr(training_module, 'amp_dtype', lambda device: torch.float16)
    first, second = (
        Training(Shades(), shades(4), TrainingSettings(), device=CPU) for _ in range(2))
    scaler = first._scaler
    scaler.load_state_dict({**scaler.state_dict(), 'scale': 8.0, '_growth_tracker': 5})
    second.load_state_dict(first.state_dict())
    assert second._scaler.state_dict() == scaler.state_dict()
    assert second._scaler.get_scale() == 8


def test_damage_of_the_last_step_shows_in_the_validation_loss():
    def spoil(network: Any) -> None:
        network.linear.weight.data.fill_(float('nan'))

    with pytest.raises(BackendError, match=r'validation loss .*step 1 '):
        trained(epochs=1, after_step=spoil)


def test_momentum_is_nesterovs():
    groups = trained(epochs=1, momentum=0.7)._optimizer.param_groups
    assert [(one['momentum'], one['nesterov']) for one in groups] == [(0.7, True)] * 2


def test_one_picture_is_too_few():
    with pytest.raises(UsageError, match='one picture'):
        trained(1, batch_size=2)


@pytest.mark.parametrize('batch', [1, 4, 5, 100])
def test_all_pictures_are_measured_whatever_the_batch(monkeypatch, batch):
    monkeypatch.setattr(measurement, '_BATCH', batch)
    network, data = Shades().eval(), shades(10)
    score = measure(network, data.validation, CPU)
    logits = torch.cat(network.answers)
    assert len(logits) == 10
    targets = data.validation.targets
    assert score.loss == pytest.approx(float(functional.cross_entropy(logits, targets)))
    assert score.top1 == pytest.approx(float((logits.argmax(1) == targets).float().mean()))
    assert score.top5 == 1


def test_a_large_share_leaves_a_picture_of_each_class_to_learn_from(tmp_path: Path):
    with DataSplit(write_shapes(tmp_path / 'data', 2), share=0.9) as split:
        assert sorted(item.target for item in split.train_items) == [0, 1, 2]
