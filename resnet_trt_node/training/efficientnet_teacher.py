"""An EfficientNet-Lite that teaches a ResNet, and its checkpoint, which holds tensors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence, Tuple, Union

from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.onnx_tools.pretrained.efficientnet_lite0 import PREPARATION
from resnet_trt_node.training.checkpoints.files import plain_weights, save_file
from resnet_trt_node.training.networks.efficientnet import (
    build_efficientnet_lite, EFFICIENTNETS, load_efficientnet_lite)
import torch
from torch import nn
from torch.nn import functional

#: Marks the files; the number changes with what they hold.
TEACHER_FORMAT = 'resnet_trt.teacher/1'


class EfficientNetTeacher(nn.Module):
    """
    An EfficientNet-Lite behind the input of a ResNet: other sides, another normalisation.

    :param arch: one of `EFFICIENTNETS`.
    :param classes: C.
    :param side: pixels a side that it looks at.
    :param pretrained: whether it starts with its ImageNet weights.
    :raises ModelError: if the packages are not installed.
    """

    def __init__(self, arch: str, classes: int, side: int, pretrained: bool = True) -> None:
        super().__init__()
        self.arch, self.side = arch, side
        network: Any = (load_efficientnet_lite if pretrained else build_efficientnet_lite)(
            arch, side)
        network._fc = nn.Linear(network._fc.in_features, classes)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Made for millions of steps; a thousand would not bring its averages home.
                module.momentum = 0.1
        self._network = network
        own_mean, own_std = PREPARATION['mean'][0], PREPARATION['std'][0]
        # One multiplication and addition from ImageNet's normalisation to the network's own.
        scale = torch.tensor(IMAGENET.std, dtype=torch.float64) * IMAGENET.scale / own_std
        offset = (torch.tensor(IMAGENET.mean, dtype=torch.float64) * IMAGENET.scale
                  - own_mean) / own_std
        self._scale: torch.Tensor
        self._offset: torch.Tensor
        self.register_buffer('_scale', scale.float().reshape(1, 3, 1, 1))
        self.register_buffer('_offset', offset.float().reshape(1, 3, 1, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """
        Return logits (B, C).

        :param pictures: float (B, 3, T, T), normalised for ImageNet.
        """
        pictures = functional.interpolate(
            pictures, size=(self.side, self.side), mode='bilinear', align_corners=False)
        logits: torch.Tensor = self._network(pictures * self._scale + self._offset)
        return logits


def save_teacher(
        network: EfficientNetTeacher, labels: Sequence[str], path: Union[str, Path]) -> None:
    """
    Write a teacher that `teacher.load_teacher` reads; it appears whole or not at all.

    :param labels: class names in the order of its output.
    :raises UsageError: if the place cannot be written to.
    """
    save_file({
        'format': TEACHER_FORMAT, 'arch': network.arch, 'side': network.side,
        'labels': list(labels), 'state_dict': plain_weights(network)}, path)


def read_teacher(
        content: Mapping[str, Any], where: str) -> Tuple[EfficientNetTeacher, Tuple[str, ...]]:
    """
    Return a teacher and its class names.

    :param content: what `checkpoint.load_file` returned, of `TEACHER_FORMAT`.
    :param where: the file, for the message.
    :raises ModelError: if it is damaged, or the network's package is not installed.
    """
    try:
        arch, side = str(content['arch']), int(content['side'])
        labels = tuple(str(label) for label in content['labels'])
        if arch not in EFFICIENTNETS or side < 1:
            raise ValueError(f'network {arch} of {side} pixels')
        network = EfficientNetTeacher(arch, len(labels), side, pretrained=False)
        network.load_state_dict(content['state_dict'])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f'the teacher {where} is damaged ({cause}): train it again') from error
    return network, labels
