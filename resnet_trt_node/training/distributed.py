"""
Processes that train one network together, one a GPU, as `torchrun` starts them.

Each sees its part of every batch; gradients and the batch norms' statistics are averaged, so that
all of them hold the same network after every step.
"""

from __future__ import annotations

import os
from typing import Optional

from resnet_trt_node.errors import UsageError
import torch
from torch import distributed, nn


class Team:
    """
    The processes of a training: this one alone, unless `Team.join` found others.

    :param rank: which of them this is, from 0; the first one writes and prints.
    :param size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self._flat: Optional[torch.Tensor] = None
        self._parts: list[torch.Tensor] = []

    @classmethod
    def join(cls, device: str) -> tuple[Team, str]:
        """
        Join the processes that torchrun started with this one.

        :param device: --device; each process takes a GPU of its own where it is 'auto' or 'cuda'.
        :returns: the team, and the device of this process.
        :raises UsageError: if it names one device for several processes.
        """
        size = int(os.environ.get('WORLD_SIZE', '1'))
        if size == 1:
            return cls(), device
        if device == 'auto':
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        if device not in ('cuda', 'cpu'):
            raise UsageError(
                f'--device {device} for {size} processes: leave it out, each takes its own GPU')
        if device == 'cuda':
            device = f'cuda:{os.environ["LOCAL_RANK"]}'
            torch.cuda.set_device(device)
        distributed.init_process_group('gloo' if device == 'cpu' else 'nccl')
        return cls(distributed.get_rank(), size), device

    def leave(self) -> None:
        """Part from the others, at the end."""
        if self.size > 1:
            distributed.destroy_process_group()

    def part(self, count: int) -> slice:
        """
        Return this process's part of a batch.

        :param count: pictures of the batch, see `check_batch`.
        """
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def check_batch(self, count: int) -> None:
        """
        Refuse a batch that does not fall into equal parts of at least two pictures.

        :raises UsageError: suggesting one that does.
        """
        if count % self.size or count < 2 * self.size:
            fitting = max(2, round(count / self.size)) * self.size
            raise UsageError(
                f'{count} pictures a step do not divide among {self.size} processes: try '
                f'--batch-size {fitting}')

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over all processes."""
        return self.total(values) / self.size if self.size > 1 else values

    def agree(self, network: nn.Module) -> None:
        """Average gradients and the batch norms' statistics, after each backward pass."""
        if self.size == 1:
            return
        tensors = [one.grad for one in network.parameters() if one.grad is not None]
        tensors += [one for one in network.buffers() if one.is_floating_point()]
        if self._flat is None:
            # One message: a hundred small ones would each wait for the others.
            self._flat = tensors[0].new_empty(sum(one.numel() for one in tensors))
            start = 0
            for one in tensors:
                self._parts.append(self._flat[start:start + one.numel()].view(one.shape))
                start += one.numel()
        torch._foreach_copy_(  # type: ignore[attr-defined,unused-ignore]
            self._parts, tensors)
        distributed.all_reduce(self._flat)
        self._flat /= self.size
        torch._foreach_copy_(  # type: ignore[attr-defined,unused-ignore]
            tensors, self._parts)
