"""Seeded random weights that behave like trained ones, for tests and timing."""

from __future__ import annotations

from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.networks.resnet import Block, ResNet
import torch
from torch import nn

_CALIBRATION_FRAMES = 16
_CALIBRATION_SIDE = 64
#: Spread of the logits; the most probable of 1000 classes then has a probability near 0.1.
_LOGIT_STD = 2.0
#: How much a block adds to its shortcut. With 1, each block doubles every rounding error.
_BRANCH_SCALE = 0.2


@torch.no_grad()
def initialise(network: ResNet, seed: int) -> None:
    """
    Fill a network with seeded random weights and set it to evaluation mode.

    Convolutions are drawn after He et al., https://arxiv.org/abs/1502.01852. The batch norms take
    their statistics, and the classifier its scale, from synthetic pictures: without that, depth
    either overflows fp16 or gives every picture the same class, and tests would see nothing.

    :param network: is changed in place; float32 on the CPU.
    :param seed: same seed, same weights; the caller's random state is left as it was.
    """
    pictures = sample_frames(_CALIBRATION_FRAMES, _CALIBRATION_SIDE, _CALIBRATION_SIDE, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw_weights(network, _BRANCH_SCALE)
        nn.init.normal_(network.fc.weight)
    x = IMAGENET.apply(pictures)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        # None averages all batches, which for one batch are its own statistics.
        norm.momentum = None
    network.train()
    features = network.features(torch.from_numpy(x))
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    centred = features - features.mean(0)
    network.fc.weight *= _LOGIT_STD / (centred @ network.fc.weight.T).std()
    network.fc.bias.copy_(-(network.fc.weight @ features.mean(0)))
    network.eval()


def draw_weights(network: ResNet, branch_scale: float) -> None:
    """
    Draw convolutions from torch's random state and reset batch norms; the classifier stays.

    :param network: is changed in place.
    :param branch_scale: how much a block adds to its shortcut.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    for block in network.modules():
        if isinstance(block, Block):
            _, last_norm = block.layers[-1]
            nn.init.constant_(last_norm.weight, branch_scale)
