"""Options that training and fine-tuning share."""

from __future__ import annotations

from argparse import Namespace
import os
from pathlib import Path
import sys
from typing import Any, Mapping, Optional

from resnet_trt_node.cli.support.console import write
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.data.dataset import TrainingData
from resnet_trt_node.training.loop import COMPILED
from resnet_trt_node.training.metrics import measure
from resnet_trt_node.training.settings import TrainingSettings
from resnet_trt_node.training.teacher import digest_of, load_teacher

_TEACHING = ('teacher_share', 'temperature')


def add_compile(group: Any, default: Optional[str]) -> None:
    """
    Add --compile.

    :param group: of a parser.
    :param default: one of `COMPILED`, or None where what was not given must be told from 'no'.
    """
    group.add_argument(
        '--compile', nargs='?', default=default, const='kernels', choices=tuple(COMPILED),
        help='compile the network first: a minute, then faster on a GPU; graphs replays the '
        'kernels from CUDA graphs, which helps where the processor is slower than the GPU')


def add_teacher(group: Any) -> None:
    """
    Add --teacher and what belongs to it; None where they are not given.

    :param group: of a parser.
    """
    usual = TrainingSettings()
    group.add_argument(
        '--teacher', type=Path, metavar='FILE',
        help='learn the answers of another network too: a checkpoint of `resnet_trt train`, or '
        'what examples/cifar10/teacher.py writes')
    group.add_argument(
        '--teacher-share', type=float, metavar='SHARE',
        help="share of the loss that follows the teacher's answers; not given: "
        f'{usual.teacher_share}')
    group.add_argument(
        '--temperature', type=float, metavar='T',
        help=f'softens these answers; not given: {usual.temperature}')


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


def teacher_settings(arguments: Namespace) -> dict[str, Any]:
    """
    Return the settings that `add_teacher` decides and that are given, by name.

    :raises UsageError: if there is no teacher to which they belong.
    :raises ModelError: if its file cannot be read.
    """
    given = {name: getattr(arguments, name) for name in _TEACHING
             if getattr(arguments, name) is not None}
    if arguments.teacher is None:
        if given:
            raise UsageError(
                f'--{next(iter(given)).replace("_", "-")} is for learning from a teacher: pass '
                '--teacher FILE, or leave it out')
        return {}
    return {'teacher': digest_of(arguments.teacher), **given}


def open_teacher(
        arguments: Namespace, labels: tuple[str, ...], image_size: int, device: Any) -> Any:
    """
    Return the teacher, as PyTorch's module; None where there is none.

    :param arguments: with `add_teacher`'s.
    :param labels: see `load_teacher`, as are the next two and the errors.
    :param image_size: of the student.
    :param device: PyTorch's, where it is used.
    """
    if arguments.teacher is None:
        return None
    return load_teacher(arguments.teacher, labels, image_size, device)


def tell_corrupt(data: TrainingData) -> None:
    """Say on stderr which pictures were left out."""
    for one in data.corrupt:
        write(f'left out {one.name}: {one.reason}', sys.stderr)


def tell_teacher(teacher: Any, data: TrainingData, device: Any) -> None:
    """Tell how accurate the teacher is, if there is one: a wrong one shows here."""
    if teacher is not None:
        top1 = measure(teacher, data.validation, device).top1
        write(f'teacher: top-1 {100 * top1:.2f} % of the pictures to measure with',
              sys.stderr)
