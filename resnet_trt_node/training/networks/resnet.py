"""
ResNet v1.5 in PyTorch, with the parameter names of torchvision's checkpoints.

He et al., "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385. In
v1.5 a bottleneck's stride sits on its 3x3 convolution instead of the first 1x1, which costs a
little time and gains about half a point of top-1; the published checkpoints are of this kind.
"""

from __future__ import annotations

from typing import Optional, Type, Union

from resnet_trt_node.errors import UsageError
import torch
from torch import nn


class BasicBlock(nn.Module):
    """
    Two 3x3 convolutions and a shortcut.

    :param inputs: channels that come in.
    :param width: channels of the convolutions.
    :param stride: of the first convolution, 1 or 2.
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(width, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, H, W) to (N, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        # Out of place: with the identity shortcut, `x` belongs to the caller.
        result: torch.Tensor = self.relu(y + shortcut)
        return result


class Bottleneck(nn.Module):
    """
    A 1x1, a strided 3x3 and a widening 1x1 convolution, and a shortcut.

    :param inputs: channels that come in.
    :param width: channels of the 3x3 convolution; four times as many go out.
    :param stride: of the 3x3 convolution, 1 or 2.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, H, W) to (N, 4 * width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        result: torch.Tensor = self.relu(y + shortcut)
        return result


#: Architecture to (kind of block, blocks in each of the four stages).
_STAGES: dict[str, tuple[Union[Type[BasicBlock], Type[Bottleneck]], tuple[int, ...]]] = {
    'resnet18': (BasicBlock, (2, 2, 2, 2)),
    'resnet34': (BasicBlock, (3, 4, 6, 3)),
    'resnet50': (Bottleneck, (3, 4, 6, 3)),
    'resnet101': (Bottleneck, (3, 4, 23, 3)),
    'resnet152': (Bottleneck, (3, 8, 36, 3)),
}
ARCHITECTURES = tuple(_STAGES)
#: Each stage halves the sides, after the stem has quartered them.
MIN_IMAGE_SIZE = 32


class ResNet(nn.Module):
    """
    A residual network with its classifier.

    :param arch: one of `ARCHITECTURES`.
    :param num_classes: C, at least 2.
    :raises UsageError: for an unknown architecture or fewer than two classes.
    """

    def __init__(self, arch: str, num_classes: int = 1000) -> None:
        super().__init__()
        if arch not in _STAGES:
            raise UsageError(
                f'unknown architecture {arch!r}: choose one of {", ".join(ARCHITECTURES)}')
        if num_classes < 2:
            raise UsageError(f'{num_classes} classes: a classifier needs at least 2')
        block, counts = _STAGES[arch]
        self.arch = arch
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, 64, counts[0], 1)
        self.layer2 = _stage(block, 64 * block.expansion, 128, counts[1], 2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, counts[2], 2)
        self.layer4 = _stage(block, 256 * block.expansion, 512, counts[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Map float (N, 3, H, W) to the pooled features, float (N, 512 or 2048)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.flatten(self.avgpool(x), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Classify normalised pictures.

        :param x: float (N, 3, H, W), RGB, (pixel / 255 - mean) / std with ImageNet's numbers.
        :returns: logits, float (N, C).
        """
        logits: torch.Tensor = self.fc(self.features(x))
        return logits


def architecture_of(keys: set[str]) -> Optional[str]:
    """Return the architecture whose parameters are called so, None if there is none."""
    counts = tuple(
        len({key.split('.')[1] for key in keys if key.startswith(f'layer{stage}.')})
        for stage in range(1, 5))
    block = Bottleneck if 'layer1.0.conv3.weight' in keys else BasicBlock
    return next((arch for arch, stages in _STAGES.items() if stages == (block, counts)), None)


def _stage(
        block: Union[Type[BasicBlock], Type[Bottleneck]], inputs: int, width: int, count: int,
        stride: int) -> nn.Sequential:
    blocks: list[nn.Module] = [block(inputs, width, stride)]
    blocks += [block(width * block.expansion, width, 1) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def _conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> Optional[nn.Sequential]:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
