"""A ResNet-18 in plain PyTorch with the usual names, as a reference of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class _Block(nn.Module):

    def __init__(self, inputs: int, outputs: int, stride: int, deep: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: Any = nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(
                *([nn.AvgPool2d(2, 2)] if deep else []),
                nn.Conv2d(inputs, outputs, 1, 1 if deep else stride, bias=False),
                nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class PlainResNet18(nn.Module):
    """
    ResNet-18, or timm's ResNet-18-D, with seeded weights that tell pictures apart.

    :param head: the classifier of 512 features.
    :param seed: of the weights.
    :param deep: whether it is a D.
    """

    def __init__(self, head: nn.Module, seed: int, deep: bool = False) -> None:
        super().__init__()
        self.conv1: Any = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        if deep:
            self.conv1 = nn.Sequential(
                nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
                nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
                nn.Conv2d(32, 64, 3, 1, 1, bias=False))
        self.bn1 = nn.BatchNorm2d(64)
        for stage, (inputs, outputs) in enumerate(
                ((64, 64), (64, 128), (128, 256), (256, 512)), start=1):
            self.add_module(f'layer{stage}', nn.Sequential(
                _Block(inputs, outputs, 1 if stage == 1 else 2, deep),
                _Block(outputs, outputs, 1, deep)))
        self.fc = head
        self._fill(seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map float (N, 3, H, W) to what the head makes of the features."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in (1, 2, 3, 4):
            x = getattr(self, f'layer{stage}')(x)
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]

    @torch.no_grad()
    def _fill(self, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
                elif isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.1)
                    nn.init.normal_(module.bias)
                elif isinstance(module, nn.BatchNorm2d):
                    # Statistics and scales that a forgotten norm would miss.
                    module.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
                    module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                    module.weight.uniform_(0.3, 0.7)
                    module.bias.normal_(std=0.1)
        self.eval()
