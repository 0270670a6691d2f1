"""
Teachers: networks whose answers another network learns beside the pictures' classes.

Knowledge distillation, Hinton, Vinyals and Dean, https://arxiv.org/abs/1503.02531. The teacher
sees each picture as the student does, cropped, altered and mixed, as in Beyer et al.,
https://arxiv.org/abs/2106.05237.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Union

from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.errors import DataError, ModelError
from resnet_trt_node.training.checkpoints.files import load_file, trained_model
from resnet_trt_node.training.checkpoints.weights import load_network
from resnet_trt_node.training.efficientnet_teacher import read_teacher, TEACHER_FORMAT
import torch
from torch import nn
from torch.nn import functional

#: Files of `torch.export.save`. Loading one unpickles, and evaluates expressions: it runs code.
_PROGRAM_SUFFIX = '.pt2'
_DIGEST_CHARACTERS = 16


def digest_of(path: Union[str, Path]) -> str:
    """
    Return what tells a teacher's file from others: the start of its SHA-256, in hex.

    :raises ModelError: if it cannot be read.
    """
    try:
        return file_sha256(path)[:_DIGEST_CHARACTERS]
    except OSError as error:
        raise ModelError(
            f'cannot read the teacher {path}: {error.strerror or error}') from error


def load_teacher(
        path: Union[str, Path], labels: tuple[str, ...], image_size: int,
        device: torch.device) -> nn.Module:
    """
    Return a network that teaches: float32 (B, 3, T, T), normalised for ImageNet, to logits (B, C).

    :param path: a checkpoint of `resnet_trt train`, or of `efficientnet_teacher.save_teacher`.
    :param labels: class names of the pictures; the teacher must have the same ones in the same
        order.
    :param image_size: T.
    :param device: where it is used.
    :raises ModelError: if it is missing, damaged or another kind of file.
    :raises DataError: if its classes differ.
    """
    path = Path(path)
    if path.suffix == _PROGRAM_SUFFIX:
        raise ModelError(
            f'the teacher {path} is a program of torch.export, and loading one can run any code: '
            'pass a checkpoint of resnet_trt train')
    content = load_file(path)
    network: nn.Module
    if isinstance(content, Mapping) and content.get('format') == TEACHER_FORMAT:
        network, known = read_teacher(content, str(path))
    else:
        trained = trained_model(content, str(path))
        if trained is None:
            raise ModelError(
                f'{path} is no checkpoint of resnet_trt train: as a teacher pass one')
        known = trained.labels
        network = load_network(trained.arch, path)[0]
    if known != labels:
        raise DataError(
            f'the teacher {path} knows the classes {", ".join(known)}, the pictures have '
            f'{", ".join(labels)}: they must be the same, in the same order')
    network.eval()
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(False)
    with torch.no_grad():
        answer = network(torch.zeros(3, 3, image_size, image_size, device=device))
    if answer.shape != (3, len(labels)):
        raise DataError(
            f'the teacher {path} returns {tuple(answer.shape)} for three pictures, where '
            f'{len(labels)} classes need (3, {len(labels)}): pass a teacher of the same classes')
    return network


def distillation_loss(
        logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """
    Return how far answers are from the teacher's: KL divergence of softened probabilities.

    :param logits: float (B, C), the student's.
    :param targets: float (B, C), the teacher's logits.
    :param temperature: divides both; the result is multiplied by its square, so that gradients
        keep their size.
    :returns: the mean over the batch, in nats.
    """
    divergence = functional.kl_div(
        functional.log_softmax(logits / temperature, 1),
        functional.log_softmax(targets / temperature, 1), reduction='batchmean', log_target=True)
    return divergence * temperature ** 2
