"""
Processes that train one network together, one a GPU, as `torchrun` starts them.

Each sees its shard of every batch; PyTorch's DistributedDataParallel averages the gradients while
they are computed, so that all hold the same weights after every step.
"""

from __future__ import annotations

import inspect
import os
from typing import Any, Iterable

from resnet_trt_node.errors import UsageError
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class ProcessGroup:
    """
    The processes of a training: this one alone, unless `ProcessGroup.join` found others.

    :param rank: which of them this is, from 0; the first one writes and prints.
    :param size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @classmethod
    def join(cls, device: str) -> tuple[ProcessGroup, str]:
        """
        Join the processes that torchrun started with this one.

        :param device: --device; each process takes a GPU of its own where it is 'auto' or 'cuda'.
        :returns: the group, and the device of this process.
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

    @property
    def first(self) -> bool:
        """Return whether this process writes and prints."""
        return self.rank == 0

    def leave(self) -> None:
        """Part from the others, at the end."""
        if self.size > 1:
            distributed.destroy_process_group()

    def shard(self, count: int) -> slice:
        """
        Return this process's shard of a batch.

        :param count: pictures of the batch, see `check_batch`.
        """
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def check_batch(self, count: int) -> None:
        """
        Refuse a batch that does not fall into equal shards of at least two pictures.

        :raises UsageError: suggesting one that does.
        """
        if count % self.size or count < 2 * self.size:
            fitting = max(2, round(count / self.size)) * self.size
            raise UsageError(
                f'{count} pictures a step do not divide among {self.size} processes: try '
                f'--batch-size {fitting}')

    def parallel(self, network: nn.Module) -> nn.Module:
        """Return the network with its gradients averaged over all processes."""
        if self.size == 1:
            return network
        # The statistics of batch norms are averaged once an epoch, see `average_buffers`.
        sync = 'forward_sync_buffers'
        if sync not in inspect.signature(DistributedDataParallel).parameters:
            sync = 'broadcast_buffers'  # before PyTorch 2.13
        options: dict[str, Any] = {sync: False}
        return DistributedDataParallel(network, gradient_as_bucket_view=True, **options)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over all processes."""
        return self.total(values) / self.size if self.size > 1 else values

    @torch.no_grad()
    def average_buffers(self, networks: Iterable[nn.Module]) -> None:
        """
        Average the statistics of batch norms over all processes.

        They are linear in those of the batches: this gives what averaging in every step would.
        """
        buffers = [
            one for network in networks for one in network.buffers() if one.is_floating_point()]
        if self.size > 1 and buffers:
            # One message: a hundred small ones would each wait for the others.
            means = self.mean(torch.cat([one.flatten() for one in buffers]))
            sizes = [one.numel() for one in buffers]
            for one, mean in zip(buffers, means.split_with_sizes(sizes)):
                one.copy_(mean.view_as(one))
