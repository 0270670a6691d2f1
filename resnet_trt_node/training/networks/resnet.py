"""
ResNet v1.5 in PyTorch, with the parameter names of torchvision's checkpoints.

He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385. In
v1.5 a bottleneck's stride sits on its 3x3 convolution instead of the first 1x1, which costs a
little time and gains about half a point of top-1; the published checkpoints are of this kind.

ResNet-D, with the parameter names of timm's checkpoints, has three 3x3 convolutions for the first
7x7, and averages before the 1x1 convolution of a shortcut, which then skips no pixels: He et al.,
"Bag of Tricks for Image Classification", https://arxiv.org/abs/1812.01187.
"""

from __future__ import annotations

import math
from typing import Any, Optional

from resnet_trt_node.errors import check_choice, UsageError
from resnet_trt_node.training.networks.architectures import ARCHITECTURES, DEEP, STAGES
import torch
from torch import nn


class Block(nn.Module):
    """
    Convolutions `conv1`, `conv2` and so on, each with its batch norm, and a shortcut around them.

    :param inputs: channels that come in.
    :param layers: output channels, side of the kernel and stride of each convolution.
    :param averages: whether the shortcut averages pixels that a stride would skip.
    """

    def __init__(
            self, inputs: int, *layers: tuple[int, int, int], averages: bool = False) -> None:
        super().__init__()
        self._count = len(layers)
        channels = inputs
        for number, (outputs, side, stride) in enumerate(layers, start=1):
            self.add_module(f'conv{number}', _convolution(channels, outputs, side, stride))
            self.add_module(f'bn{number}', nn.BatchNorm2d(outputs))
            channels = outputs
        self.relu = nn.ReLU(inplace=True)
        stride = math.prod(stride for _, _, stride in layers)
        self.downsample = None if stride == 1 and inputs == channels else _shortcut(
            inputs, channels, stride, averages)

    @property
    def layers(self) -> list[tuple[Any, Any]]:
        """Return each convolution with its batch norm."""
        return [(getattr(self, f'conv{number}'), getattr(self, f'bn{number}'))
                for number in range(1, self._count + 1)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = x
        for number, (convolution, norm) in enumerate(self.layers, start=1):
            y = norm(convolution(y))
            if number < self._count:
                y = self.relu(y)
        # Out of place: with the identity shortcut, `x` belongs to the caller.
        result: torch.Tensor = self.relu(y + shortcut)
        return result


class ResNet(nn.Module):
    """
    A residual network with its classifier.

    :param arch: one of `ARCHITECTURES`.
    :param num_classes: C, at least 2.
    :raises UsageError: for an unknown architecture or fewer than two classes.
    """

    def __init__(self, arch: str, num_classes: int = 1000) -> None:
        super().__init__()
        check_choice('architecture', arch, ARCHITECTURES)
        if num_classes < 2:
            raise UsageError(f'{num_classes} classes: a classifier needs at least 2')
        expansion, counts = STAGES[arch]
        self.arch = arch
        deep = arch.endswith(DEEP)
        self.conv1 = _deep_stem() if deep else _convolution(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(expansion, 64, 64, counts[0], 1, deep)
        self.layer2 = _stage(expansion, 64 * expansion, 128, counts[1], 2, deep)
        self.layer3 = _stage(expansion, 128 * expansion, 256, counts[2], 2, deep)
        self.layer4 = _stage(expansion, 256 * expansion, 512, counts[3], 2, deep)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * expansion, num_classes)

    @property
    def is_bottleneck(self) -> bool:
        """Return whether its blocks are bottlenecks of three convolutions."""
        return STAGES[self.arch][0] > 1

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Map float (N, 3, H, W) to the pooled features, float (N, 512 or 2048)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Classify normalised pictures.

        :param x: float (N, 3, H, W), RGB, (pixel / 255 - mean) / std, with ImageNet's
            numbers for published weights of torchvision.
        :returns: logits, float (N, C).
        """
        logits: torch.Tensor = self.fc(self.features(x))
        return logits


def architecture_of(keys: set[str]) -> Optional[str]:
    """Return the architecture whose parameters are called so, None if there is none."""
    counts = tuple(
        len({key.split('.')[1] for key in keys if key.startswith(f'layer{stage}.')})
        for stage in range(1, 5))
    expansion = 4 if 'layer1.0.conv3.weight' in keys else 1
    deep = 'conv1.0.weight' in keys
    return next((arch for arch, stages in STAGES.items()
                 if stages == (expansion, counts) and arch.endswith(DEEP) == deep), None)


def _stage(
        expansion: int, inputs: int, width: int, count: int, stride: int,
        averages: bool) -> nn.Sequential:
    blocks = [_block(expansion, inputs, width, stride, averages)]
    blocks += [_block(expansion, width * expansion, width, 1, averages)
               for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def _block(expansion: int, inputs: int, width: int, stride: int, averages: bool) -> Block:
    """Return two 3x3 convolutions, or a bottleneck: a 1x1, a strided 3x3 and a widening 1x1."""
    if expansion == 1:
        return Block(inputs, (width, 3, stride), (width, 3, 1), averages=averages)
    return Block(
        inputs, (width, 1, 1), (width, 3, stride), (width * expansion, 1, 1), averages=averages)


def _shortcut(inputs: int, outputs: int, stride: int, averages: bool) -> nn.Sequential:
    if not averages:
        return nn.Sequential(
            _convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
    pool = nn.Identity() if stride == 1 else nn.AvgPool2d(
        stride, stride, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(pool, _convolution(inputs, outputs, 1, 1), nn.BatchNorm2d(outputs))


def _deep_stem() -> nn.Sequential:
    """Return the first layers but for the last norm, which is `bn1` here too."""
    return nn.Sequential(
        _convolution(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        _convolution(32, 32, 3, 1), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        _convolution(32, 64, 3, 1))


def _convolution(inputs: int, outputs: int, side: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)
