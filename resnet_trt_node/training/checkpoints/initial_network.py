"""The network that a training starts from: random, or trained on other classes."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, Union

from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.training.checkpoints.weights import load_network
from resnet_trt_node.training.networks.random_weights import draw_weights
from resnet_trt_node.training.networks.resnet import ResNet
import torch
from torch import nn

#: Spread of a new classifier's weights: at first it prefers no class.
_HEAD_STD = 0.01


def initial_network(
        arch: str, weights: Union[str, Path], labels: Sequence[str], seed: int = 0,
        cache: Optional[Path] = None) -> tuple[ResNet, bool, tuple[str, ...]]:
    """
    Build the network that a training starts from.

    :param arch: one of `network.ARCHITECTURES`.
    :param weights: one of `published.RECIPES`, 'random', or a checkpoint file.
    :param labels: class names, C of them.
    :param seed: of what is drawn; the caller's random state is left as it was.
    :param cache: folder of downloads, None for the default.
    :returns: the network, float32, on the CPU; whether it has a new classifier, since the
        weights are for other classes; and what was assumed of the weights, a sentence each.
    :raises UsageError: for an unknown architecture or a recipe that it has not.
    :raises ModelError: if the weights cannot be had, or are of another architecture.
    """
    count = len(labels)
    assumptions: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if weights == 'random':
            network = ResNet(arch, count)
            # Blocks begin as their shortcuts: Goyal et al., https://arxiv.org/abs/1706.02677.
            draw_weights(network, branch_scale=0.0)
        else:
            network, info = load_network(arch, weights, cache=cache)
            assumptions += info.assumptions
            if info.declared.normalisation != IMAGENET:
                assumptions.append(
                    'training goes on with ' + IMAGENET.describe()
                    + f', the weights were trained with {info.declared.normalisation.describe()}')
            if network.fc.out_features == count and (
                    info.declared.labels is None or info.declared.labels == tuple(labels)):
                return network, False, tuple(assumptions)
            network.fc = nn.Linear(network.fc.in_features, count)
        nn.init.normal_(network.fc.weight, std=_HEAD_STD)
        nn.init.zeros_(network.fc.bias)
    return network, True, tuple(assumptions)
