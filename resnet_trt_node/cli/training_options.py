"""Options that training and fine-tuning share."""

from __future__ import annotations

from typing import Any, Optional

from resnet_trt_node.model.training import COMPILED


def add_compile(group: Any, default: Optional[str]) -> None:
    """
    Add --compile.

    :param group: of a parser.
    :param default: one of `COMPILED`, or None where what was not given must be told from 'no'.
    """
    group.add_argument(
        '--compile', nargs='?', default=default, const='kernels', choices=tuple(COMPILED),
        help='compile the network first: a minute, then faster on a GPU; graphs replays the '
        'kernels from CUDA graphs, which helps where the processor is slower than the GPU')
