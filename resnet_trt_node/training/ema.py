"""The moving average of a network's weights, which is often more accurate than the last ones."""

from __future__ import annotations

import copy

import torch
from torch import nn

#: Early averages forget faster, so that the random beginning does not linger.
_WARMUP = 10


class WeightAverage:
    """
    An exponential moving average of parameters and of the batch norms' statistics.

    PyTorch's AveragedModel takes 1.4 times as long, and reads a counter from the device each time.

    :param network: what is averaged; the average starts as a copy of it, on its device.
    :param decay: what the average keeps of itself at a step, below 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        #: The averaged network, in evaluation mode.
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        #: Updates so far.
        self.updates = 0
        self._decay = decay
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values()))
        self._averaged = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
        self._copied = [(mean, value) for mean, value in pairs if not mean.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's present weights."""
        self.updates += 1
        decay = min(self._decay, self.updates / (self.updates + _WARMUP))
        # One kernel for all tensors: one each would keep the processor busy for milliseconds.
        torch._foreach_lerp_(  # type: ignore[attr-defined,unused-ignore]
            [mean for mean, _ in self._averaged], [value for _, value in self._averaged],
            1 - decay)
        if self._copied:
            torch._foreach_copy_(  # type: ignore[attr-defined,unused-ignore]
                [mean for mean, _ in self._copied], [value for _, value in self._copied])
