"""`resnet_trt train`: train or fine-tune a ResNet on a folder of pictures for each class."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
import sys
from typing import Any, Sequence

from resnet_trt_node.cli.support.console import count_of, print_json, Progress, write
from resnet_trt_node.cli.support.options import (
    add_picture_arguments, max_image_bytes, print_unread)
from resnet_trt_node.cli.support.training_options import (
    add_compile, add_teacher, open_teacher, refuse_among_pictures, teacher_settings, tell_corrupt,
    tell_teacher)
from resnet_trt_node.training.checkpoints.files import describe_weights
from resnet_trt_node.training.checkpoints.initial_network import initial_network
from resnet_trt_node.training.checkpoints.weights import best_recipe, RECIPES
from resnet_trt_node.training.data.dataset import DataSplit, load_data
from resnet_trt_node.training.devices import memory_errors, pick_device
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.export import DEFAULT_ARCHITECTURE, pick_architecture
from resnet_trt_node.training.folder import BEST, LAST, Summary, TrainingFolder
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.metrics import EpochMetrics
from resnet_trt_node.training.networks.resnet import ARCHITECTURES, ResNet
from resnet_trt_node.training.settings import (
    AUTO_AUGMENTS, check_image_size, default_lr, MIXES, TrainingSettings)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        '--data', type=Path, required=True, metavar='DIR|ZIP',
        help='pictures in a folder for each class, or such a set divided into train/ and val/ or '
        'test/')
    parser.add_argument(
        '--validation', type=Path, metavar='DIR|ZIP',
        help='pictures to measure with, in class folders')
    parser.add_argument(
        '--validation-split', type=float, default=0.1, metavar='SHARE',
        help='share of each class to measure with where there are no such pictures')
    parser.add_argument(
        '--skip-corrupt', action='store_true',
        help='leave corrupt pictures out; without it they are listed, and an error')
    add_picture_arguments(parser)
    parser.add_argument(
        '--arch', choices=ARCHITECTURES,
        help=f'network; that of --weights if it is a checkpoint, else {DEFAULT_ARCHITECTURE}')
    parser.add_argument(
        '--weights', metavar='WEIGHTS',
        help=f'{", ".join(RECIPES)} (downloaded once, checked), random, or a checkpoint file; '
        'not given: the better published ones')
    parser.add_argument(
        '--cache', type=Path, metavar='DIR',
        help='where downloads are kept; not given: $RESNET_TRT_CACHE, or the XDG cache')
    parser.add_argument(
        '--out', type=Path, default=Path('training'), metavar='DIR',
        help='folder of checkpoints, metrics and the learning curve')
    parser.add_argument('--resume', action='store_true', help='continue the run of --out')
    parser.add_argument('--json', action='store_true', help='print the result as JSON')
    _add_recipe(parser.add_argument_group('how it is trained'))
    _add_machine(parser.add_argument_group('where it is trained'))


def _add_recipe(group: Any) -> None:
    defaults = TrainingSettings()
    group.add_argument(
        '--image-size', type=int, default=224, metavar='PIXELS',
        help="sides of the network's input")
    group.add_argument(
        '--resize', type=int, metavar='PIXELS',
        help='short side before the centre crop when it is measured and deployed; not given: '
        '256/224 of --image-size, or that itself where all pictures are smaller')
    group.add_argument(
        '--epochs', type=int, default=defaults.epochs, metavar='N',
        help='passes over the pictures')
    group.add_argument(
        '--batch-size', type=int, default=defaults.batch_size, metavar='N',
        help='pictures a step')
    group.add_argument(
        '--lr', type=float, metavar='RATE',
        help='highest learning rate; not given: for 256 pictures a step 0.1 from random weights '
        'and 0.01 from others, in proportion')
    group.add_argument(
        '--warmup-epochs', type=float, metavar='N',
        help='epochs until the highest learning rate; not given: a tenth, at most 5')
    group.add_argument(
        '--weight-decay', type=float, default=defaults.weight_decay, metavar='X',
        help='pull of weights to zero, not of norms and biases')
    group.add_argument(
        '--label-smoothing', type=float, default=defaults.label_smoothing, metavar='SHARE',
        help='share of a target that is spread over all classes')
    group.add_argument(
        '--min-scale', type=float, default=defaults.min_scale, metavar='SHARE',
        help="smallest share of a picture's area that a random crop shows")
    group.add_argument(
        '--no-flip', dest='flip', action='store_false', help='never mirror, such as for traffic '
        'signs')
    group.add_argument(
        '--colour', type=float, default=defaults.colour, metavar='SHARE',
        help='by how much brightness, contrast and saturation vary')
    group.add_argument(
        '--auto-augment', default=defaults.auto_augment, choices=AUTO_AUGMENTS,
        help='trivial: TrivialAugment, which turns, shears, moves or recolours each picture by a '
        'random amount; helps where there are few')
    group.add_argument(
        '--mix', default=defaults.mix, choices=tuple(MIXES),
        help='how pictures are mixed with each other; helps where there are few')
    add_teacher(group)
    group.add_argument(
        '--ema', type=float, default=defaults.ema, metavar='DECAY',
        help="decay of the weights' moving average, which then is the result; 0 for none")
    group.add_argument(
        '--seed', type=int, default=defaults.seed, metavar='N',
        help='of first weights, order and augmentation')


def _add_machine(group: Any) -> None:
    group.add_argument('--device', default='auto', metavar='NAME', help='auto, cuda, cuda:1, cpu')
    group.add_argument(
        '--no-amp', dest='amp', action='store_false',
        help='full instead of mixed precision on a GPU')
    add_compile(group, 'no')
    group.add_argument(
        '--workers', type=int, default=0, metavar='N',
        help='threads that decode pictures, 0 for one a core')
    group.add_argument(
        '--save-every', type=int, default=1, metavar='N', help='epochs between checkpoints')


def run(arguments: Namespace) -> int:
    """Train and tell."""
    refuse_among_pictures('--out', arguments.out, {
        '--data': arguments.data, '--validation': arguments.validation})
    weights = arguments.weights or best_recipe(arguments.arch or DEFAULT_ARCHITECTURE)
    arguments.arch = pick_architecture(arguments.arch, describe_weights(weights), weights)
    settings = _settings(arguments, weights)
    check_image_size(arguments.image_size, arguments.resize)
    group, name = ProcessGroup.join(arguments.device)
    device = pick_device(name)
    first = group.rank == 0
    quiet = arguments.json or not first
    folder = TrainingFolder(arguments.out, weights, arguments.save_every, arguments.resume)
    with DataSplit(arguments.data, arguments.validation, arguments.validation_split,
                   settings.seed, max_image_bytes(arguments)) as split:
        if first:
            print_unread(split.unread)
        # Before the pictures are read, which may take minutes: weights that cannot be had.
        network, new_head = _network(arguments, weights, split.train.classes)
        teacher = open_teacher(
            arguments, tuple(split.train.classes), arguments.image_size, device)
        with Progress(split.count, 'picture', quiet) as progress, \
                memory_errors(settings.batch_size):
            data = load_data(
                split, arguments.image_size, arguments.resize, device,
                skip_corrupt=arguments.skip_corrupt, workers=arguments.workers,
                step=progress.step)
        if first:
            tell_corrupt(data)
        with memory_errors(settings.batch_size):
            training = Training(
                network, data, settings, device=device, amp=arguments.amp,
                compiled=arguments.compile, teacher=teacher, group=group)
        if arguments.resume:
            folder.restore(training)
        if not quiet:
            write(_introduction(training, weights, new_head), sys.stderr)
            tell_teacher(teacher, data, device)
        left = (settings.epochs - training.epoch) * training.steps
        with Progress(left, 'step', quiet) as progress:
            try:
                for metrics in training.epochs(progress.step):
                    if first:
                        progress.warn(_line(metrics, settings.epochs))
                        folder.keep(training)
            except KeyboardInterrupt:
                if first and (arguments.out / LAST).exists():
                    progress.warn(f'stopped; {arguments.out} has what was done up to the last '
                                  'checkpoint: go on with the same command and --resume')
                raise
        group.leave()
        if not first:
            return 0
        with memory_errors(training.batch_size):
            summary = folder.finish(training)
    if arguments.json:
        print_json({
            'out': str(arguments.out), 'checkpoint': str(arguments.out / BEST),
            'labels': list(data.labels), 'settings': settings.to_dict(),
            'summary': asdict(summary), 'epochs': [one.to_dict() for one in training.history]})
    else:
        _print_summary(arguments.out, summary)
    return 0


def _network(
        arguments: Namespace, weights: str, labels: Sequence[str]) -> tuple[ResNet, bool]:
    """Return the first network, and whether its classifier is new; resuming fills it later."""
    if arguments.resume:
        return ResNet(arguments.arch, len(labels)), False
    return initial_network(arguments.arch, weights, labels, arguments.seed, arguments.cache)


def _settings(arguments: Namespace, weights: str) -> TrainingSettings:
    lr, warm_up = arguments.lr, arguments.warmup_epochs
    return TrainingSettings(
        lr=default_lr(arguments.batch_size, weights == 'random') if lr is None else lr,
        warmup_epochs=min(5.0, arguments.epochs / 10) if warm_up is None else warm_up,
        **{name: getattr(arguments, name) for name in (
            'epochs', 'batch_size', 'weight_decay', 'label_smoothing', 'min_scale', 'flip',
            'colour', 'auto_augment', 'mix', 'ema', 'seed')}, **teacher_settings(arguments))


def _introduction(training: Training, weights: str, new_head: bool) -> str:
    data = training.data
    head = ', a new classifier' if new_head and weights != 'random' else ''
    return (f'{training.network.arch} from {weights}{head} on {training.device}: '
            f'{count_of(len(data.train), "picture")} of {len(data.labels)} classes, '
            f'{len(data.validation.targets)} to measure with, '
            f'{data.image_size}x{data.image_size}, {training.steps} steps an epoch')


def _line(metrics: EpochMetrics, epochs: int) -> str:
    return (f'epoch {metrics.epoch}/{epochs}: loss {metrics.train_loss:.4f}, validation loss '
            f'{metrics.validation_loss:.4f}, top-1 {100 * metrics.validation_top1:.2f} %, '
            f'{metrics.pictures_per_s:.0f} pictures/s')


def _print_summary(out: Path, summary: Summary) -> None:
    for name, score in (('last', summary.last), (f'best, {summary.best_epoch}', summary.best)):
        write(f'epoch {name}: top-1 {100 * score.top1:.2f} %, top-5 {100 * score.top5:.2f} %')
    if not summary.curve:
        write('no learning curve was drawn: pip install matplotlib', sys.stderr)
    write(f'next: resnet_trt export --weights {out / BEST} -o model.onnx')
