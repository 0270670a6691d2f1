"""
One of the processes of test_distributed: trains with the others and writes what it came to.

Usage: process_group_member.py PICTURES OUT. The file OUT/RANK then holds the checksum of its
weights, the losses, the mean of the ranks, whether gradients and statistics became the means of
all, and the validation pictures' score as all together and as this process alone found it.
"""

from __future__ import annotations

import copy
from pathlib import Path
import sys

from resnet_trt_node.training import metrics as measurement
from resnet_trt_node.training.data.dataset import DataSplit, load_data
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.settings import TrainingSettings
import torch
from torch import distributed, nn


def averaged(group: ProcessGroup, network: ResNet) -> bool:
    """Return whether gradients and statistics become the means of what each process has."""
    torch.manual_seed(group.rank)
    pictures = torch.randn(4, 3, 32, 32)

    def values(forward: nn.Module) -> list[torch.Tensor]:
        network.load_state_dict(begun)
        network.zero_grad()
        forward(pictures).square().mean().backward()
        if forward is not network:
            group.average_buffers([network])
        return [one.grad.clone() for one in network.parameters()] + [
            one.clone() for one in network.buffers() if one.is_floating_point()]

    begun = copy.deepcopy(network.state_dict())
    own = values(network)
    for one in own:
        distributed.all_reduce(one)
    return all(torch.allclose(one, other / 2, atol=1e-6)
               for one, other in zip(values(group.parallel(network)), own))


def main() -> None:
    """Train and write."""
    torch.set_num_threads(1)
    group, name = ProcessGroup.join('cpu')
    device = torch.device(name)
    torch.manual_seed(0)
    network = ResNet('resnet18', 3)
    same = averaged(group, network)
    with DataSplit(sys.argv[1]) as split:
        data = load_data(split, 32, 32, device)
    # So small that each process has some of the pictures.
    measurement._BATCH = 1
    training = Training(network, data, TrainingSettings(
        epochs=6, batch_size=12, lr=0.01, min_scale=0.6, ema=0.5), device=device, group=group)
    history = list(training.epochs())
    losses = [metrics.train_loss for metrics in history]
    alone = training.validate()
    scores = [(one.validation_loss, one.validation_top1, one.validation_top5)
              for one in history[-1:]] + [(alone.loss, alone.top1, alone.top5)]
    state = training.state_dict()
    total = sum(
        float(value.double().sum()) for part in (state['network'], state['average']['network'])
        for value in part.values())
    mean = float(group.mean(torch.tensor(float(group.rank))))
    Path(sys.argv[2], str(group.rank)).write_text(repr((total, losses, mean, same, *scores)))
    group.leave()


main()
