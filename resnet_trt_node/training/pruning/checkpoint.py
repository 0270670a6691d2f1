"""Pruning a checkpoint: what is in the file, fine-tuning under the masks, and the new file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Union

from resnet_trt_node.errors import DataError, ModelError
from resnet_trt_node.training.checkpoints.declared import DeclaredWeights, ENTRY
from resnet_trt_node.training.checkpoints.files import (
    load_file, plain_weights, save_file, trained_model, TrainedModel)
from resnet_trt_node.training.checkpoints.timm import weights_path
from resnet_trt_node.training.checkpoints.weights import load_network
from resnet_trt_node.training.data.dataset import TrainingData
from resnet_trt_node.training.devices import memory_errors
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.metrics import measure, Score
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.pruning.masks import (
    check_sparse_checkpoint, check_two_four, checkpoint_entries, pruned_source, TwoFourMasks)
from resnet_trt_node.training.settings import TrainingSettings
import torch
from torch import nn

#: Settings that make a fine-tuning, whatever the network was trained with.
_OWN = (
    'epochs', 'batch_size', 'lr', 'warmup_epochs', 'seed', 'teacher', 'teacher_share',
    'temperature')


@dataclass(frozen=True)
class PrunableCheckpoint:
    """
    A checkpoint of a ResNet.

    :param path: the file.
    :param network: with its weights, float32, on the CPU, in evaluation mode.
    :param trained: what `resnet_trt train` wrote of it, None for a plain state dict.
    :param run: the settings it was trained with, by name; empty where they are unknown.
    :param source: where its weights come from, in words.
    :param declared: how pictures become its input, and its classes.
    :param assumptions: what was assumed to read it, a sentence each.
    """

    path: Path
    network: ResNet
    trained: Optional[TrainedModel]
    run: Mapping[str, Any]
    source: str
    declared: DeclaredWeights
    assumptions: tuple[str, ...]


@dataclass(frozen=True)
class FineTuning:
    """
    What fine-tuning came to, on the validation pictures, in float32.

    :param dense: the network as it was.
    :param pruned: right after pruning.
    :param tuned: after fine-tuning.
    """

    dense: Score
    pruned: Score
    tuned: Score


def open_checkpoint(path: Union[str, Path]) -> PrunableCheckpoint:
    """
    Read a checkpoint of `resnet_trt train`, or another one of a ResNet.

    :raises ModelError: if it is missing, damaged, of no known ResNet, or says of itself that it
        is 2:4 and is not.
    """
    path = weights_path(path)
    content = load_file(path)
    trained = trained_model(content, str(path))
    network, info = load_network(None if trained is None else trained.arch, path)
    check_sparse_checkpoint(content, network, str(path))
    run = content.get('run') if trained is not None else None
    settings = run.get('settings') if isinstance(run, Mapping) else None
    source = content.get('source') if isinstance(content, Mapping) else None
    return PrunableCheckpoint(
        path, network, trained, settings if isinstance(settings, Mapping) else {},
        source if isinstance(source, str) else info.source, info.declared, info.assumptions)


def tuning_settings(
        checkpoint: PrunableCheckpoint, given: Mapping[str, Any]) -> TrainingSettings:
    """
    Return how to fine-tune: as the network was trained, but for what is given.

    :param given: settings by name; those that are None, but for what is a fine-tuning's own, are
        taken from the checkpoint, else the usual ones.
    :raises UsageError: for a number that cannot be used.
    :raises ModelError: if the checkpoint's settings are malformed.
    """
    known = {one.name for one in fields(TrainingSettings)}
    inherited = {
        name: value for name, value in checkpoint.run.items()
        if name in known and name not in _OWN}
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return TrainingSettings(**{**inherited, **chosen})
    except TypeError as error:
        raise ModelError(
            f'the training settings in {checkpoint.path} are malformed ({error}): use another '
            'checkpoint of that run') from error


def check_classes(checkpoint: PrunableCheckpoint, labels: tuple[str, ...]) -> None:
    """
    Refuse pictures of other classes than the network's.

    :param labels: class names of the pictures, in the order of their indices.
    :raises DataError: naming what differs; a plain state dict knows only how many there are.
    """
    count = checkpoint.network.fc.out_features
    if len(labels) != count:
        raise DataError(
            f'the pictures have {len(labels)} classes, {checkpoint.path} has {count}: fine-tune '
            'with the classes that the network was trained on')
    known = checkpoint.declared.labels or labels
    for index, (one, other) in enumerate(zip(labels, known)):
        if one != other:
            raise DataError(
                f'class {index} of the pictures is {one!r}, that of {checkpoint.path} is '
                f'{other!r}: fine-tune with the classes that the network was trained on')


def fine_tune(
        checkpoint: PrunableCheckpoint, masks: TwoFourMasks, data: TrainingData,
        settings: TrainingSettings, tune: Callable[[Training], Score], *, device: torch.device,
        amp: bool = True, compiled: str = 'no', teacher: Optional[nn.Module] = None,
        group: Optional[ProcessGroup] = None) -> tuple[ResNet, FineTuning]:
    """
    Prune a network and train it on, its masks put on again after every step.

    :param checkpoint: its network is trained in place.
    :param masks: of that network.
    :param data: pictures of the network's classes.
    :param settings: how.
    :param tune: runs the training to its last epoch and measures it in float32.
    :param device: where, see `Training`, as are the others.
    :returns: the last epoch's network, exactly 2:4, in evaluation mode, on the CPU; and what came
        of it.
    :raises BackendError: if memory runs out, or the loss is not finite any more.
    """
    network: ResNet = checkpoint.network.to(
        device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval()
    with memory_errors(settings.batch_size):
        dense = measure(network, data.validation, device)
        masks(network)
        pruned = measure(network, data.validation, device)
    # After pruning: an average of weights starts as a copy of the network.
    training = Training(
        network, data, settings, device=device, amp=amp, compiled=compiled, after_step=masks,
        teacher=teacher, group=group)
    tuned = tune(training)
    result = ResNet(network.arch, network.fc.out_features)
    result.load_state_dict(plain_weights(training.result))
    return result.eval(), FineTuning(dense, pruned, tuned)


def save_pruned(
        out: Union[str, Path], network: ResNet, masks: TwoFourMasks,
        checkpoint: PrunableCheckpoint, trained: Optional[TrainedModel],
        settings: Optional[TrainingSettings] = None) -> None:
    """
    Write a 2:4 checkpoint, which `resnet_trt export` takes.

    :param out: the file; it appears whole or not at all.
    :param network: pruned.
    :param masks: its masks.
    :param checkpoint: what it was made from.
    :param trained: what to write of it, None for a plain state dict.
    :param settings: of the fine-tuning, None without one.
    :raises ModelError: if the network is not exactly 2:4.
    :raises UsageError: if the place cannot be written to.
    """
    check_two_four(network, masks.layers)
    run = dict(checkpoint.run) if settings is None else asdict(settings)
    # Only for those whose own entries do not say it.
    declared = {} if trained is not None or not checkpoint.declared.source else {
        ENTRY: checkpoint.declared.to_dict()}
    save_file({
        **({} if trained is None else trained.to_dict()),
        'state_dict': plain_weights(network),
        **checkpoint_entries(masks), 'source': pruned_source(checkpoint.source),
        'run': {'settings': run}, **declared,
    }, out)
