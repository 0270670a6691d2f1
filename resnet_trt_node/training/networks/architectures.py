"""Which networks there are, without PyTorch."""

from __future__ import annotations

_STAGES: dict[str, tuple[int, tuple[int, ...]]] = {
    'resnet18': (1, (2, 2, 2, 2)),
    'resnet34': (1, (3, 4, 6, 3)),
    'resnet50': (4, (3, 4, 6, 3)),
    'resnet101': (4, (3, 4, 23, 3)),
    'resnet152': (4, (3, 8, 36, 3)),
}
#: Ends the names of ResNets with a stem of three 3x3 convolutions and shortcuts that average.
DEEP = 'd'
#: Architecture to (how many times as wide as its 3x3 convolutions a block's output is, 4 for
#: bottlenecks; blocks in each of the four stages).
STAGES = {**_STAGES, **{arch + DEEP: stages for arch, stages in _STAGES.items()}}
ARCHITECTURES = tuple(STAGES)
#: Each stage halves the sides, after the stem has quartered them.
MIN_IMAGE_SIZE = 32
DEFAULT_ARCHITECTURE = 'resnet50'
