"""The learning rate over a training: a linear warm-up, then half a cosine."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, warmup_steps: int, highest: float) -> float:
    """
    Return the learning rate of a step.

    Goyal et al., https://arxiv.org/abs/1706.02677, and Loshchilov and Hutter,
    https://arxiv.org/abs/1608.03983.

    :param step: 0 to `steps` - 1.
    :param steps: of the whole training.
    :param warmup_steps: it rises linearly over so many steps and is `highest` at the next one.
    :param highest: the peak.
    """
    if step < warmup_steps:
        return highest * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return highest * 0.5 * (1.0 + math.cos(math.pi * progress))
