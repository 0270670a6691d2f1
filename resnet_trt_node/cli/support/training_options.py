"""What `train` and `prune` share: the options of a training, its pictures and its epochs."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import fields
import os
from pathlib import Path
from typing import Any, Mapping, Optional

from resnet_trt_node.cli.arguments.training import VALIDATION_SHARE
from resnet_trt_node.cli.support.console import log, Progress
from resnet_trt_node.cli.support.options import max_image_bytes, print_unread
from resnet_trt_node.datasets.listing import describe_several
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.data.dataset import DataSplit, load_data, TrainingData
from resnet_trt_node.training.devices import memory_errors
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.folder import LAST, TrainingFolder
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.metrics import measure
from resnet_trt_node.training.settings import default_lr, TrainingSettings
from resnet_trt_node.training.teacher import digest_of, load_teacher


def given_settings(
        arguments: Namespace, usual: Mapping[str, Any], longest_warmup: float,
        from_random: bool = False) -> dict[str, Any]:
    """
    Return the settings that are given, and `usual` ones in their places, by name.

    :param from_random: whether the first weights are random, which decides the learning rate.
    :raises UsageError: for options of a teacher without one.
    :raises ModelError: if the teacher's file cannot be read.
    """
    given = {one.name: value for one in fields(TrainingSettings)
             if (value := getattr(arguments, one.name, None)) is not None}
    if arguments.teacher is None:
        for name in ('teacher_share', 'temperature'):
            if name in given:
                raise UsageError(
                    f'--{name.replace("_", "-")} is for learning from a teacher: pass --teacher '
                    'FILE, or leave it out')
    else:
        given['teacher'] = digest_of(arguments.teacher)
    given = {**usual, **given}
    given.setdefault('lr', default_lr(given['batch_size'], from_random))
    given.setdefault('warmup_epochs', min(longest_warmup, given['epochs'] / 10))
    return given


def refuse_among_pictures(
        option: str, folder: Optional[Path], data: Mapping[str, Optional[Path]]) -> None:
    """
    Refuse to keep results among pictures: the next run would take their folder for a class.

    :param option: that names the folder.
    :param folder: None where it is not given.
    :param data: data sets by their options; zip files are no place for a run anyway.
    :raises UsageError: naming both.
    """
    if folder is None:
        return
    # Unlike Path.resolve(), realpath takes links that go in circles.
    place = Path(os.path.realpath(folder))
    for name, root in data.items():
        if root is not None and root.is_dir() and place.is_relative_to(os.path.realpath(root)):
            raise UsageError(
                f'{option} {folder} lies in {name} {root}, where it could be taken for a class: '
                f'name a folder elsewhere with {option}')


def open_split(arguments: Namespace, root: Path, seed: int) -> DataSplit:
    """Return the pictures of a folder or zip file, divided; a context manager."""
    share = arguments.validation_split
    return DataSplit(
        root, arguments.validation, VALIDATION_SHARE if share is None else share, seed,
        max_image_bytes(arguments))


def read_pictures(
        arguments: Namespace, split: DataSplit, image_size: int, resize: Optional[int],
        settings: TrainingSettings, device: Any, group: ProcessGroup) -> tuple[TrainingData, Any]:
    """
    Decode the pictures, and tell on stderr what was left out and how good the teacher is.

    :param device: PyTorch's.
    :returns: the pictures, and the teacher, None without one; see `load_data`, `load_teacher`.
    """
    quiet = arguments.json or not group.first
    # Before the pictures are read, which may take minutes.
    teacher = None if arguments.teacher is None else load_teacher(
        arguments.teacher, tuple(split.train.classes), image_size, device)
    if group.first:
        print_unread(split.unread)
        for line in dict.fromkeys((*split.train.assumptions, *split.validation.assumptions)):
            log(line)
    with Progress(split.count, 'picture', quiet) as progress, memory_errors(settings.batch_size):
        data = load_data(
            split, image_size, resize, device, skip_corrupt=bool(arguments.skip_bad),
            workers=arguments.threads or 0, step=progress.step)
    if group.first:
        for one in data.corrupt:
            log(f'left out {one.name}: {one.reason}')
        several = describe_several(sum(
            len(part.store.several) for part in {split.train, split.validation}))
        if several:
            log(several)
    if teacher is not None and not quiet:
        # A wrong one shows here.
        top1 = measure(teacher, data.validation, device).top1
        log(f'teacher: top-1 {100 * top1:.2f} % of the pictures to measure with')
    return data, teacher


def run_epochs(
        training: Training, folder: Optional[TrainingFolder], arguments: Namespace,
        group: ProcessGroup) -> None:
    """
    Train to the last epoch; the first process tells each and keeps it in the folder.

    :param folder: None for nowhere.
    """
    epochs = training.settings.epochs
    left = (epochs - training.epoch) * training.steps
    with Progress(left, 'step', arguments.json or not group.first) as progress:
        try:
            for one in training.epochs(progress.step):
                if not group.first:
                    continue
                log(f'epoch {one.epoch}/{epochs}: loss {one.train_loss:.4f}, validation loss '
                    f'{one.validation_loss:.4f}, top-1 {100 * one.validation_top1:.2f} %, '
                    f'{one.pictures_per_s:.0f} pictures/s')
                if folder is not None:
                    folder.keep(training)
        except KeyboardInterrupt:
            if group.first and folder is not None and (folder.folder / LAST).exists():
                log(f'stopped; {folder.folder} has what was done up to the last checkpoint: '
                    'go on with the same command and --resume')
            raise
