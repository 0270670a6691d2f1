"""`resnet_trt train`: train or fine-tune a ResNet on a folder of pictures for each class."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Sequence

from resnet_trt_node.cli.arguments.models.train import LONGEST_WARMUP, USUAL
from resnet_trt_node.cli.arguments.training import IMAGE_SIZE
from resnet_trt_node.cli.support.console import count_of, log, print_json, write
from resnet_trt_node.cli.support.training_options import (
    given_settings, open_split, read_pictures, refuse_among_pictures, run_epochs)
from resnet_trt_node.training.checkpoints.initial_network import initial_network
from resnet_trt_node.training.checkpoints.weights import choose_weights
from resnet_trt_node.training.devices import memory_errors, pick_device
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.folder import BEST, Summary, TrainingFolder
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.settings import check_image_size, TrainingSettings


def run(arguments: Namespace) -> int:
    """Train and tell."""
    refuse_among_pictures('--output', arguments.output, {
        '--images': arguments.images, '--validation': arguments.validation})
    arguments.arch, weights, _ = choose_weights(arguments.arch, arguments.weights)
    settings = TrainingSettings(
        **given_settings(arguments, USUAL, LONGEST_WARMUP, weights == 'random'))
    size = IMAGE_SIZE if arguments.image_size is None else arguments.image_size
    check_image_size(size, arguments.resize)
    group, name = ProcessGroup.join(arguments.device or 'auto')
    device = pick_device(name)
    folder = TrainingFolder(arguments.output, weights, arguments.save_every, arguments.resume)
    with open_split(arguments, arguments.images, settings.seed) as split:
        # Before the pictures are read, which may take minutes: weights that cannot be had.
        network, new_head, assumptions = _network(
            arguments, weights, split.train.classes, settings.seed)
        data, teacher = read_pictures(
            arguments, split, size, arguments.resize, settings, device, group)
        with memory_errors(settings.batch_size):
            training = Training(
                network, data, settings, device=device, amp=arguments.amp is None,
                compiled=arguments.compile or 'no', teacher=teacher, group=group)
        if arguments.resume:
            folder.restore(training)
        if group.first and not arguments.json:
            log(_introduction(training, weights, new_head))
            for one in assumptions:
                log(f'assumed: {one}')
        run_epochs(training, folder, arguments, group)
        group.leave()
        if not group.first:
            return 0
        with memory_errors(training.batch_size):
            summary = folder.finish(training)
    if arguments.json:
        print_json('train', {
            'out': str(arguments.output), 'checkpoint': str(arguments.output / BEST),
            'labels': list(data.labels), 'settings': asdict(settings),
            'summary': asdict(summary), 'epochs': [asdict(one) for one in training.history]})
    else:
        _print_summary(arguments.output, summary)
    return 0


def _network(
        arguments: Namespace, weights: str, labels: Sequence[str],
        seed: int) -> tuple[ResNet, bool, tuple[str, ...]]:
    """Return what `initial_network` does; resuming fills the network later."""
    if arguments.resume:
        return ResNet(arguments.arch, len(labels)), False, ()
    return initial_network(arguments.arch, weights, labels, seed, arguments.cache)


def _introduction(training: Training, weights: str, new_head: bool) -> str:
    data = training.data
    head = ', a new classifier' if new_head and weights != 'random' else ''
    return (f'{training.network.arch} from {weights}{head} on {training.device}: '
            f'{count_of(len(data.train), "picture")} of {len(data.labels)} classes, '
            f'{len(data.validation.targets)} to measure with, '
            f'{data.image_size}x{data.image_size}, {training.steps} steps an epoch')


def _print_summary(out: Path, summary: Summary) -> None:
    for name, score in (('last', summary.last), (f'best, {summary.best_epoch}', summary.best)):
        write(f'epoch {name}: top-1 {100 * score.top1:.2f} %, top-5 {100 * score.top5:.2f} %')
    if not summary.curve:
        log('no learning curve was drawn: pip install matplotlib')
    write(f'next: resnet_trt export --weights {out / BEST} -o model.onnx', whole=True)
