"""
Teachers: networks whose answers another network learns beside the pictures' classes.

Knowledge distillation, Hinton, Vinyals and Dean, https://arxiv.org/abs/1503.02531. The teacher
sees each picture as the pupil does, cropped, altered and mixed, as in Beyer et al.,
https://arxiv.org/abs/2106.05237.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Union
import warnings
import zipfile

from resnet_trt_node.errors import DataError, ModelError
from resnet_trt_node.model.checkpoint import describe_weights
from resnet_trt_node.model.files import whole_file
from resnet_trt_node.model.weights import load_network
import torch
from torch import nn
from torch.export.passes import move_to_device_pass
from torch.nn import functional

#: Files of `torch.export.save`; anything else is a checkpoint.
PROGRAM_SUFFIX = '.pt2'
_DIGEST_CHARACTERS = 16


def digest_of(path: Union[str, Path]) -> str:
    """
    Return what tells a teacher's file from others: the start of its SHA-256, in hex.

    :raises ModelError: if it cannot be read.
    """
    found = hashlib.sha256()
    try:
        with Path(path).open('rb') as file:
            while block := file.read(1 << 20):
                found.update(block)
    except OSError as error:
        raise ModelError(
            f'cannot read the teacher {path}: {error.strerror or error}') from error
    return found.hexdigest()[:_DIGEST_CHARACTERS]


def load_teacher(
        path: Union[str, Path], labels: tuple[str, ...], image_size: int,
        device: torch.device) -> nn.Module:
    """
    Return a network that teaches: float32 (B, 3, T, T), normalised for ImageNet, to logits (B, C).

    :param path: a checkpoint of `resnet_trt train`, or any network in evaluation mode as
        `torch.export.save` wrote it, with a batch of any size.
    :param labels: class names of the pictures, C of them. A checkpoint must have the same ones in
        the same order; of a program only their number is known.
    :param image_size: T.
    :param device: where it is used.
    :raises ModelError: if it is missing, damaged, or takes or returns other shapes.
    :raises DataError: if its classes differ.
    """
    path = Path(path)
    if path.suffix == PROGRAM_SUFFIX:
        network = _program(path, device)
    else:
        trained = describe_weights(path)
        if trained is None:
            raise ModelError(
                f'{path} is no checkpoint of resnet_trt train: as a teacher pass one, or a '
                f'network that torch.export.save wrote to a {PROGRAM_SUFFIX} file')
        if trained.labels != labels:
            raise DataError(
                f'the teacher {path} knows the classes {", ".join(trained.labels)}, the pictures '
                f'have {", ".join(labels)}: they must be the same, in the same order')
        network = load_network(trained.arch, path)[0].eval()
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(False)
    _check_shapes(network, str(path), len(labels), image_size, device)
    return network


def distillation_loss(
        logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """
    Return how far answers are from the teacher's: KL divergence of softened probabilities.

    :param logits: float (B, C), the pupil's.
    :param targets: float (B, C), the teacher's logits.
    :param temperature: divides both; the result is multiplied by its square, so that gradients
        keep their size.
    :returns: the mean over the batch, in nats.
    """
    divergence = functional.kl_div(
        functional.log_softmax(logits / temperature, 1),
        functional.log_softmax(targets / temperature, 1), reduction='batchmean', log_target=True)
    return divergence * temperature ** 2


def save_program(
        network: nn.Module, image_size: int, path: Union[str, Path]) -> None:
    """
    Write a network that `load_teacher` reads.

    :param network: float32 (B, 3, T, T), normalised for ImageNet, to logits (B, C).
    :param image_size: T.
    :param path: a .pt2 file; it appears whole or not at all.
    :raises UsageError: if the place cannot be written to.
    """
    network.to(device='cpu', memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.eval()
    program = torch.export.export(
        network, (torch.zeros(4, 3, image_size, image_size),),
        dynamic_shapes=({0: torch.export.Dim('batch')},))
    # As a stream: torch.export refuses names that do not end in .pt2.
    with whole_file(path) as temporary, temporary.open('wb') as file:
        torch.export.save(program, file)


def _program(path: Path, device: torch.device) -> nn.Module:
    if not path.is_file():
        raise ModelError(f'there is no teacher {path}: pass the file of a trained network')
    try:
        # PyTorch would print its own account of a file that is none.
        with zipfile.ZipFile(path):
            pass
        with warnings.catch_warnings():
            # Of PyTorch's own loader, about buffers that it never writes to.
            warnings.simplefilter('ignore', UserWarning)
            program: Any = torch.export.load(path)
            network: nn.Module = move_to_device_pass(
                program, str(device)).module()
    except Exception as error:  # noqa: B902  PyTorch raises types of many kinds
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f'the teacher {path} is not a network that torch.export.save wrote ({cause})'
        ) from error
    return network


def _check_shapes(
        network: nn.Module, where: str, classes: int, image_size: int,
        device: torch.device) -> None:
    try:
        with torch.no_grad():
            answer = network(torch.zeros(3, 3, image_size, image_size, device=device))
    except Exception as error:  # noqa: B902  PyTorch raises types of many kinds
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f'the teacher {where} does not take three RGB pictures of {image_size}x{image_size} '
            f'({cause}): train it for the --image-size of its pupil') from error
    shape = tuple(getattr(answer, 'shape', ()))
    if shape != (3, classes):
        raise DataError(
            f'the teacher {where} returns {shape} for three pictures, where {classes} classes '
            f'need (3, {classes}): pass a teacher of the same classes')
