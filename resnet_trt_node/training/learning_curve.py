"""The learning curve of a training as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.text.fitting import shortened
from resnet_trt_node.text.printable import printable
from resnet_trt_node.training.metrics import EpochMetrics

_LONGEST_TITLE = 90


def draw_learning_curve(history: Sequence[EpochMetrics], title: str, path: Path) -> bool:
    """
    Draw loss, accuracy and learning rate over the epochs.

    :param history: what each epoch gave, at least one.
    :param title: the network and its data set.
    :param path: the PNG to write; it appears whole or not at all.
    :returns: whether it was drawn; not without matplotlib.
    """
    try:
        # Not pyplot, which keeps figures of its own and may want a display.
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(11, 3.6), layout='constrained')
    figure.suptitle(shortened(printable(title), _LONGEST_TITLE), fontsize=11, parse_math=False)
    losses, accuracies, rates = figure.subplots(1, 3)
    epochs = [one.epoch for one in history]
    marker = 'o' if len(epochs) == 1 else ''
    losses.plot(epochs, [one.train_loss for one in history], marker, label='training')
    losses.plot(epochs, [one.validation_loss for one in history], marker, label='validation')
    losses.set_title('loss', fontsize=10)
    if all(one.train_top1 is not None for one in history):
        accuracies.plot(
            epochs, [100 * (one.train_top1 or 0) for one in history], marker,
            label='training, augmented')
    accuracies.plot(
        epochs, [100 * one.validation_top1 for one in history], marker, label='validation')
    best = max(history, key=lambda one: one.validation_top1)
    accuracies.set_title(
        f'top-1 in %, best {100 * best.validation_top1:.1f} in epoch {best.epoch}', fontsize=10)
    rates.plot(epochs, [one.lr for one in history], marker)
    rates.set_title('learning rate at the end of the epoch', fontsize=10)
    rates.set_ylim(0, 1.05 * max(one.lr for one in history))
    for axis in (losses, accuracies, rates):
        axis.set_xlabel('epoch')
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        # Neither exponents nor offsets.
        axis.ticklabel_format(axis='y', style='plain', useOffset=False)
        axis.grid(alpha=0.3)
    for axis in (losses, accuracies):
        axis.legend(fontsize=9)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format='png', dpi=110, metadata={'Software': None})
    return True
