"""The folder of a training: which epoch is the best, what is kept when, what is continued."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from models.shades import Shades, shades
import pytest
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.checkpoints.files import load_file
from resnet_trt_node.training.folder import TrainingFolder
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.settings import TrainingSettings
import torch

pytestmark = pytest.mark.slow

CPU = torch.device('cpu')


def answering(*classes: int) -> Training:
    """Return a training whose network names one class after each epoch; two of five are 0."""
    left = list(classes)

    def answer(network: Any) -> None:
        network.linear.weight.data.zero_()
        network.linear.bias.data.copy_(torch.eye(3)[left.pop(0)])

    return Training(
        Shades(), shades(5), TrainingSettings(epochs=len(classes), batch_size=5), device=CPU,
        after_step=answer)


def run(training: Training, folder: TrainingFolder) -> list[bool]:
    """Train and keep; return after which epochs there was a checkpoint."""
    there = []
    for _ in training.epochs():
        folder.keep(training)
        there.append((folder.folder / 'last.pth').exists())
    return there


def test_the_best_is_measured_and_the_last_stays_what_it_is(tmp_path: Path):
    training, folder = answering(0, 2), TrainingFolder(tmp_path / 'run', 'random')
    run(training, folder)
    summary = folder.finish(training)
    assert (summary.best_epoch, summary.best.top1, summary.last.top1) == (1, 0.4, 0.2)
    bias = training.result.state_dict()['linear.bias']
    assert bias.tolist() == [0, 0, 1]
    last, best = (load_file(tmp_path / 'run' / name) for name in ('last.pth', 'best.pth'))
    assert (last['epoch'], best['epoch']) == (2, 1)
    assert torch.equal(last['state_dict']['linear.bias'], bias)
    assert best['state_dict']['linear.bias'].tolist() == [1, 0, 0]


def test_of_equal_epochs_the_first_is_the_best(tmp_path: Path):
    training, folder = answering(2, 1, 0), TrainingFolder(tmp_path / 'run', 'random')
    run(training, folder)
    assert folder.finish(training).best_epoch == 2
    assert load_file(tmp_path / 'run' / 'best.pth')['epoch'] == 2


def test_the_last_epoch_is_kept_whatever_the_distance(tmp_path: Path):
    training, folder = answering(0, 1, 2), TrainingFolder(tmp_path / 'run', 'random', 2)
    assert run(training, folder) == [False, True, True]
    assert load_file(tmp_path / 'run' / 'last.pth')['epoch'] == 3


@pytest.mark.parametrize(('changes', 'message'), [
    ({}, ''), ({'fingerprint': 'other'}, 'other pictures'),
    ({'labels': ('a', 'c', 'b')}, '3 classes')])
def test_a_run_is_continued_with_the_same_data_only(tmp_path: Path, changes, message):
    run(answering(0, 2), TrainingFolder(tmp_path / 'run', 'random'))
    training = answering(0, 2)
    training.data = replace(training.data, **changes)
    folder = TrainingFolder(tmp_path / 'run', 'random', resume=True)
    if message:
        with pytest.raises(UsageError, match=message):
            folder.restore(training)
        assert training.epoch == 0
    else:
        folder.restore(training)
        assert training.epoch == 2
        summary = folder.finish(training)
        assert (summary.best_epoch, summary.best.top1) == (1, 0.4)
