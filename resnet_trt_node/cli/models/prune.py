"""`resnet_trt prune`: make a network 2:4, so that engines can skip half of the multiplications."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Optional

from resnet_trt_node.atomic_file import check_place
from resnet_trt_node.cli.arguments.models.prune import LONGEST_WARMUP, USUAL
from resnet_trt_node.cli.arguments.training import IMAGE_SIZE
from resnet_trt_node.cli.support.console import count_of, log, print_json, print_table, write
from resnet_trt_node.cli.support.training_options import (
    given_settings, open_split, read_pictures, refuse_among_pictures, run_epochs)
from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.checkpoints.files import TrainedModel
from resnet_trt_node.training.devices import pick_device
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.folder import TrainingFolder
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.metrics import Score
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.pruning.checkpoint import (
    check_classes, fine_tune, FineTuning, open_checkpoint, PrunableCheckpoint, save_pruned,
    tuning_settings)
from resnet_trt_node.training.pruning.masks import (
    check_pattern, LayerReport, prune_onnx, TwoFourMasks)
from resnet_trt_node.training.settings import check_image_size, TrainingSettings

#: Options that mean something without --finetune.
_ALWAYS = (
    'command', 'words', 'model', 'output', 'sparsity', 'fully_connected', 'json', 'finetune')


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
        print_json('prune', {
            'path': str(arguments.output), 'sparsity': arguments.sparsity,
            'layers': [asdict(one) for one in layers],
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
    given = [name for name, value in vars(arguments).items()
             if value is not None and name not in _ALWAYS]
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
    for one in checkpoint.assumptions:
        log(f'assumed: {one}')
    masks = TwoFourMasks(checkpoint.network, arguments.fully_connected)
    if arguments.finetune is None:
        masks(checkpoint.network)
        save_pruned(
            arguments.output, checkpoint.network, masks, checkpoint, checkpoint.trained)
        return masks.reports, None
    settings = tuning_settings(checkpoint, given_settings(arguments, USUAL, LONGEST_WARMUP))
    group, name = ProcessGroup.join(arguments.device or 'auto')
    network, trained, tuning = _fine_tune(arguments, checkpoint, masks, settings, group, name)
    group.leave()
    if not group.first:
        return None
    save_pruned(arguments.output, network, masks, checkpoint, trained, settings)
    return masks.reports, tuning


def _fine_tune(
        arguments: Namespace, checkpoint: PrunableCheckpoint, masks: TwoFourMasks,
        settings: TrainingSettings, group: ProcessGroup,
        device_name: str) -> tuple[ResNet, TrainedModel, FineTuning]:
    trained = checkpoint.trained
    size, resize = (arguments.image_size or IMAGE_SIZE, None) if trained is None else (
        trained.image_size, trained.resize)
    if trained is not None and arguments.image_size not in (None, size):
        raise UsageError(
            f'--image-size {arguments.image_size}: {checkpoint.path} was trained with {size}, '
            'leave it out')
    check_image_size(size, resize)
    device = pick_device(device_name)
    folder = None if arguments.run_dir is None else TrainingFolder(
        arguments.run_dir, _origin(arguments), resume=bool(arguments.resume))

    def tune(training: Training) -> Score:
        if folder is not None and arguments.resume:
            folder.restore(training)
        run_epochs(training, folder, arguments, group)
        return training.validate(full_precision=True) if folder is None or not group.first else (
            folder.finish(training).last)

    with open_split(arguments, arguments.finetune, settings.seed) as split:
        check_classes(checkpoint, split.train.classes)
        data, teacher = read_pictures(arguments, split, size, resize, settings, device, group)
        network, tuning = fine_tune(
            checkpoint, masks, data, settings, tune, device=device, amp=arguments.amp is None,
            compiled=arguments.compile or 'no', teacher=teacher, group=group)
    rule = data.rule
    return network, TrainedModel(
        network.arch, data.labels, rule.crop_height, rule.short_side or rule.crop_height), tuning


def _origin(arguments: Namespace) -> str:
    """Return what a fine-tuning begins with, in words that differ for another network or masks."""
    layers = ' and fully connected' if arguments.fully_connected else ''
    return (f'{arguments.model.name} (sha256 {file_sha256(arguments.model)[:16]}), 2:4 masks on '
            f'convolutions{layers}')


def _print_report(
        arguments: Namespace, layers: list[LayerReport], tuning: Optional[FineTuning]) -> None:
    pruned = [one for one in layers if not one.why_dense]
    write(f'{arguments.output}: {arguments.sparsity} in {len(pruned)} of '
          f'{count_of(len(layers), "layer")}')
    print_table(('layer', 'weight', 'zeros', 'magnitude'), [
        (one.layer, 'x'.join(map(str, one.shape)), f'{100 * one.zeros:.1f} %',
         f'{100 * one.kept:.1f} %', f'left dense: {one.why_dense}' if one.why_dense else '')
        for one in layers], 'llrr', '  ')
    if tuning is None:
        log('not fine-tuned: measure what it costs with `resnet_trt evaluate`'
            + ('' if arguments.model.suffix.lower() == '.onnx' else ', or pass --finetune DIR'))
        return
    for name, score in (('before', tuning.dense), ('pruned', tuning.pruned),
                        ('fine-tuned', tuning.tuned)):
        write(f'{name:11}top-1 {100 * score.top1:.2f} %, top-5 {100 * score.top5:.2f} %')
