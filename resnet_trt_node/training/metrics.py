"""What a training measures: after each epoch, and of a network as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from resnet_trt_node.training.data.augment import normalise
from resnet_trt_node.training.data.pictures import StoredPictures
from resnet_trt_node.training.devices import autocast, convolutions
from resnet_trt_node.training.distributed import ProcessGroup
import torch
from torch import nn
from torch.nn import functional

_BATCH = 256


@dataclass(frozen=True)
class Score:
    """
    What a network makes of the validation pictures.

    :param loss: cross entropy, without label smoothing.
    :param top1: share of right answers, in [0, 1].
    :param top5: share of pictures whose class is among the five most probable.
    """

    loss: float
    top1: float
    top5: float


@dataclass(frozen=True)
class EpochMetrics:
    """
    What an epoch gave; a row of the metrics file.

    :param epoch: its number, from 1.
    :param lr: learning rate of its last step.
    :param train_loss: mean over its steps, with label smoothing, mixing and augmentation.
    :param train_top1: share of right answers on augmented pictures; None where they are mixed.
    :param validation_loss: cross entropy.
    :param validation_top1: share of right answers.
    :param validation_top5: likewise, among the five most probable.
    :param pictures_per_s: trained with.
    :param train_s: seconds of the steps.
    :param validation_s: seconds of measuring.
    """

    epoch: int
    lr: float
    train_loss: float
    train_top1: Optional[float]
    validation_loss: float
    validation_top1: float
    validation_top5: float
    pictures_per_s: float
    train_s: float
    validation_s: float


@torch.no_grad()
def measure(
        network: nn.Module, pictures: StoredPictures, device: torch.device,
        amp_dtype: Optional[torch.dtype] = None,
        group: Optional[ProcessGroup] = None) -> Score:
    """
    Measure a network in evaluation mode.

    :param network: on the device.
    :param pictures: what it is measured with.
    :param device: where it computes.
    :param amp_dtype: of mixed precision, None for float32.
    :param group: processes that call this together with the same network and share the work; None
        for this one alone.
    """
    group = group or ProcessGroup()
    # Losses, right answers, and classes among the five most probable.
    sums = torch.zeros(3, device=device, dtype=torch.float64)
    for start in range(group.rank * _BATCH, len(pictures.targets), group.size * _BATCH):
        batch = pictures.pictures[start:start + _BATCH].to(device)
        targets = pictures.targets[start:start + _BATCH].to(device)
        with autocast(device, amp_dtype) if amp_dtype else (
                convolutions(device, exact=True)):
            logits = network(normalise(batch.permute(0, 3, 1, 2).float())).float()
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == targets[:, None]
        sums += torch.stack([
            functional.cross_entropy(logits, targets, reduction='sum'),
            best[:, 0].sum(), best.any(1).sum()])
    count = len(pictures.targets)
    loss, top1, top5 = group.total(sums).tolist()
    return Score(loss / count, top1 / count, top5 / count)
