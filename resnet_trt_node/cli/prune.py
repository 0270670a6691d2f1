"""`resnet_trt prune`: make a network 2:4, so that engines can skip half of the multiplications."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
import sys
from typing import Any, Optional

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.support.console import count_of, print_json, Progress, table_row, write
from resnet_trt_node.cli.support.options import (
    add_picture_arguments, max_image_bytes, print_unread)
from resnet_trt_node.cli.support.training_options import (
    add_compile, add_teacher, open_teacher, refuse_among_pictures, teacher_settings, tell_corrupt,
    tell_teacher)
from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.checkpoints.files import TrainedModel
from resnet_trt_node.training.data.dataset import DataSplit, load_data
from resnet_trt_node.training.devices import pick_device
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.folder import TrainingFolder
from resnet_trt_node.training.metrics import EpochMetrics
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.pruning.checkpoint import (
    check_classes, fine_tune, FineTuning, open_checkpoint, PrunableCheckpoint, save_pruned,
    tuning_settings)
from resnet_trt_node.training.pruning.masks import (
    check_pattern, LayerReport, prune_onnx, TwoFourMasks)
from resnet_trt_node.training.settings import (
    AUTO_AUGMENTS, check_image_size, default_lr, MIXES, TrainingSettings)

_EPOCHS, _BATCH_SIZE, _IMAGE_SIZE = 10, 64, 224
#: Options that mean nothing without --finetune.
_TUNING = (
    'validation', 'validation_split', 'epochs', 'batch_size', 'lr', 'warmup_epochs',
    'weight_decay', 'label_smoothing', 'min_scale', 'auto_augment', 'mix', 'teacher',
    'teacher_share', 'temperature', 'ema', 'seed', 'image_size', 'device', 'amp', 'compile',
    'workers', 'skip_corrupt', 'run_dir', 'resume')


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        'model', type=Path, metavar='MODEL',
        help='checkpoint (.pth) of `resnet_trt train` or of torchvision, or a deployable fp32 or '
        'fp16 model (.onnx), which cannot be fine-tuned')
    parser.add_argument(
        '-o', '--output', type=Path, required=True, metavar='OUT',
        help='file to write, of the same kind as MODEL')
    parser.add_argument(
        '--sparsity', default='2:4', metavar='N:M',
        help='2:4, the pattern that the hardware computes with: two of every four weights')
    parser.add_argument(
        '--fully-connected', action='store_true',
        help='prune the classifier as well; it is small, and decides between the classes')
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    _add_tuning(parser.add_argument_group(
        'fine-tuning', 'what is not given is as the checkpoint says it was trained'))


def _add_tuning(group: Any) -> None:
    group.add_argument(
        '--finetune', type=Path, metavar='DIR',
        help='train on with the pictures of a folder or zip of class folders; without it '
        'accuracy is lost')
    group.add_argument(
        '--validation', type=Path, metavar='DIR',
        help='pictures to measure with, in class folders')
    group.add_argument(
        '--validation-split', type=float, metavar='SHARE',
        help='share of each class to measure with where there are no such pictures; not given: '
        '0.1')
    group.add_argument(
        '--epochs', type=int, metavar='N', help=f'passes over the pictures; not given: {_EPOCHS}')
    group.add_argument(
        '--batch-size', type=int, metavar='N', help=f'pictures a step; not given: {_BATCH_SIZE}')
    group.add_argument(
        '--lr', type=float, metavar='RATE',
        help='highest learning rate; not given: 0.01 for 256 pictures a step, in proportion')
    group.add_argument(
        '--warmup-epochs', type=float, metavar='N',
        help='epochs until the highest learning rate; not given: a tenth, at most 1')
    for name, text in (
            ('weight-decay', 'pull of weights to zero'),
            ('label-smoothing', 'share of a target that is spread over all classes'),
            ('min-scale', "smallest share of a picture's area that a random crop shows"),
            ('ema', "decay of the weights' moving average, 0 for none")):
        group.add_argument(f'--{name}', type=float, metavar='X', help=text)
    group.add_argument(
        '--auto-augment', choices=AUTO_AUGMENTS, help='how pictures are altered beyond crops')
    group.add_argument(
        '--mix', choices=tuple(MIXES), help='how pictures are mixed with each other')
    add_teacher(group)
    group.add_argument(
        '--seed', type=int, metavar='N', help='of order and augmentation; not given: 0')
    group.add_argument(
        '--image-size', type=int, metavar='PIXELS',
        help="sides of the network's input where MODEL does not say; not given: 224")
    group.add_argument('--device', metavar='NAME', help='auto, cuda, cuda:1 or cpu')
    group.add_argument(
        '--no-amp', dest='amp', action='store_const', const=False,
        help='full instead of mixed precision on a GPU')
    add_compile(group, None)
    group.add_argument(
        '--workers', type=int, metavar='N', help='threads that decode pictures, 0 for one a core')
    add_picture_arguments(group, None)
    group.add_argument(
        '--skip-corrupt', action='store_const', const=True,
        help='leave corrupt pictures out; without it they are listed, and an error')
    group.add_argument(
        '--run-dir', type=Path, metavar='DIR',
        help='keep a checkpoint of each epoch, metrics and the learning curve there')
    group.add_argument(
        '--resume', action='store_const', const=True,
        help='continue what --run-dir has, with the same options')


def run(arguments: Namespace) -> int:
    """Prune and tell."""
    check_pattern(arguments.sparsity)
    onnx = arguments.model.suffix.lower() == '.onnx'
    _check(arguments, onnx)
    tuning: Optional[FineTuning] = None
    if onnx:
        _, layers = prune_onnx(arguments.model, arguments.output, arguments.fully_connected)
    else:
        result = _prune_checkpoint(arguments)
        if result is None:
            return 0
        layers, tuning = result
    if arguments.json:
        print_json({
            'path': str(arguments.output), 'sparsity': arguments.sparsity,
            'layers': [one.to_dict() for one in layers],
            'accuracy': None if tuning is None else asdict(tuning)})
    else:
        _print_report(arguments, layers, tuning)
    return 0


def _check(arguments: Namespace, onnx: bool) -> None:
    if (arguments.output.suffix.lower() == '.onnx') != onnx:
        raise UsageError(
            f'{arguments.model} is {"an ONNX model" if onnx else "a checkpoint"} and '
            f'{arguments.output} would not be: '
            + ('name a file.onnx' if onnx else 'name a file.pth, and make the model of it with '
               '`resnet_trt export --weights` afterwards'))
    check_place(arguments.output, arguments.model)
    if onnx and arguments.finetune is not None:
        raise UsageError(
            f'{arguments.model} cannot be trained on: pass the checkpoint that it was made from, '
            'and export the result')
    given = [name for name in _TUNING if getattr(arguments, name) is not None]
    if given and arguments.finetune is None:
        raise UsageError(
            f'--{given[0].replace("_", "-")} is for fine-tuning: pass --finetune DIR, or leave it '
            'out')
    if arguments.resume and arguments.run_dir is None:
        raise UsageError('--resume needs the folder of the run: pass --run-dir DIR')
    pictures = {'--finetune': arguments.finetune, '--validation': arguments.validation}
    refuse_among_pictures('--run-dir', arguments.run_dir, pictures)
    # A file among the pictures does no harm, a folder that is made for it does.
    if not arguments.output.parent.exists():
        refuse_among_pictures('--output', arguments.output.parent, pictures)


def _prune_checkpoint(
        arguments: Namespace) -> Optional[tuple[list[LayerReport], Optional[FineTuning]]]:
    """Return what to tell, None in all but the first of the processes that fine-tune together."""
    checkpoint = open_checkpoint(arguments.model)
    masks = TwoFourMasks(checkpoint.network, arguments.fully_connected)
    if arguments.finetune is None:
        masks(checkpoint.network)
        save_pruned(
            arguments.output, checkpoint.network, masks, checkpoint, checkpoint.trained)
        return masks.reports, None
    settings = tuning_settings(checkpoint, _given(arguments))
    group, name = ProcessGroup.join(arguments.device or 'auto')
    network, trained, tuning = _fine_tune(arguments, checkpoint, masks, settings, group, name)
    group.leave()
    if group.rank > 0:
        return None
    save_pruned(arguments.output, network, masks, checkpoint, trained, settings)
    return masks.reports, tuning


def _given(arguments: Namespace) -> dict[str, Any]:
    """Return the settings of a fine-tuning that are given or its own."""
    epochs = _EPOCHS if arguments.epochs is None else arguments.epochs
    batch_size = _BATCH_SIZE if arguments.batch_size is None else arguments.batch_size
    return {
        'epochs': epochs, 'batch_size': batch_size,
        'lr': default_lr(batch_size, False) if arguments.lr is None else arguments.lr,
        'warmup_epochs': (
            min(1.0, epochs / 10) if arguments.warmup_epochs is None
            else arguments.warmup_epochs),
        **{name: getattr(arguments, name) for name in (
            'weight_decay', 'label_smoothing', 'min_scale', 'auto_augment', 'ema', 'mix',
            'seed')},
        **teacher_settings(arguments)}


def _fine_tune(
        arguments: Namespace, checkpoint: PrunableCheckpoint, masks: TwoFourMasks,
        settings: TrainingSettings, group: ProcessGroup,
        device_name: str) -> tuple[ResNet, TrainedModel, FineTuning]:
    trained = checkpoint.trained
    size, resize = (arguments.image_size or _IMAGE_SIZE, None) if trained is None else (
        trained.image_size, trained.resize)
    if trained is not None and arguments.image_size not in (None, size):
        raise UsageError(
            f'--image-size {arguments.image_size}: {checkpoint.path} was trained with {size}, '
            'leave it out')
    check_image_size(size, resize)
    device = pick_device(device_name)
    quiet = arguments.json or group.rank > 0
    folder = None if arguments.run_dir is None else TrainingFolder(
        arguments.run_dir, _origin(arguments), resume=bool(arguments.resume))
    share = 0.1 if arguments.validation_split is None else arguments.validation_split
    with ExitStack() as stack:
        split = stack.enter_context(
            DataSplit(
                arguments.finetune, arguments.validation, share, settings.seed,
                max_image_bytes(arguments)))
        check_classes(checkpoint, split.train.classes)
        teacher = open_teacher(arguments, tuple(split.train.classes), size, device)
        with Progress(split.count, 'picture', quiet) as progress:
            data = load_data(
                split, size, resize, device, skip_corrupt=bool(arguments.skip_corrupt),
                workers=arguments.workers or 0, step=progress.step)
        if group.rank == 0:
            print_unread(split.unread)
            tell_corrupt(data)
        if not quiet:
            tell_teacher(teacher, data, device)
        steps = max(1, len(data.train) // min(settings.batch_size, len(data.train)))
        with Progress(settings.epochs * steps, 'step', quiet) as progress:
            network, tuning = fine_tune(
                checkpoint, masks, data, settings, device=device,
                amp=arguments.amp is None, compiled=arguments.compile or 'no', folder=folder,
                resume=bool(arguments.resume), teacher=teacher, group=group,
                on_step=progress.step, on_epoch=lambda one: progress.warn(_line(one)))
    rule = data.rule
    return network, TrainedModel(
        network.arch, data.labels, rule.crop_height, rule.short_side or rule.crop_height), tuning


def _origin(arguments: Namespace) -> str:
    """Return what a fine-tuning begins with, in words that differ for another network or masks."""
    layers = ' and fully connected' if arguments.fully_connected else ''
    return (f'{arguments.model.name} (sha256 {file_sha256(arguments.model)[:16]}), 2:4 masks on '
            f'convolutions{layers}')


def _line(metrics: EpochMetrics) -> str:
    return (f'epoch {metrics.epoch}: loss {metrics.train_loss:.4f}, validation top-1 '
            f'{100 * metrics.validation_top1:.2f} %, {metrics.pictures_per_s:.0f} pictures/s')


def _print_report(
        arguments: Namespace, layers: list[LayerReport], tuning: Optional[FineTuning]) -> None:
    pruned = [one for one in layers if not one.why_dense]
    write(f'{arguments.output}: {arguments.sparsity} in {len(pruned)} of '
          f'{count_of(len(layers), "layer")}')
    widths = [max(len('layer'), *(len(one.layer) for one in layers)), 18, -7, -9]
    write('  ' + table_row(['layer', 'weight', 'zeros', 'magnitude'], widths))
    for one in layers:
        shape = 'x'.join(str(side) for side in one.shape)
        write('  ' + table_row(
            [one.layer, shape, f'{100 * one.zeros:.1f} %', f'{100 * one.kept:.1f} %',
             f'left dense: {one.why_dense}' if one.why_dense else ''], widths))
    if tuning is None:
        write('not fine-tuned: measure what it costs with `resnet_trt evaluate`'
              + ('' if arguments.model.suffix.lower() == '.onnx' else ', or pass --finetune DIR'),
              sys.stderr)
        return
    for name, score in (('before', tuning.dense), ('pruned', tuning.pruned),
                        ('fine-tuned', tuning.tuned)):
        write(f'{name:11}top-1 {100 * score.top1:.2f} %, top-5 {100 * score.top5:.2f} %')
