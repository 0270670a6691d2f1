"""A network and a data set that train in milliseconds."""

from __future__ import annotations

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.training.data.dataset import TrainingData
from resnet_trt_node.training.data.pictures import StoredPictures
import torch
from torch import nn

SIDE = 4


class Shades(nn.Module):
    """Three logits from the mean colour of a picture; keeps what it answered and in which mode."""

    arch = 'shades'

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, 3)
        nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(4))
        nn.init.zeros_(self.linear.bias)
        self.answers: list[torch.Tensor] = []
        self.modes: list[bool] = []

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(self.norm(pictures).mean((2, 3)))
        self.answers.append(logits.detach().clone())
        self.modes.append(self.training)
        return logits


def shades(count: int) -> TrainingData:
    """Return even pictures, each of another grey, of three classes in turn."""
    greys = torch.linspace(20, 235, count).to(torch.uint8)
    pictures = greys.reshape(-1, 1, 1, 1).expand(count, SIDE, SIDE, 3).contiguous()
    targets = torch.arange(count) % 3
    stored = StoredPictures(pictures, torch.ones(count), targets)
    return TrainingData(stored, stored, ('a', 'b', 'c'), ResizeRule(SIDE, SIDE, SIDE), '')
