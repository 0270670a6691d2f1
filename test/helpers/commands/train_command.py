"""Running the command train, as small as it gets."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.main import main

TINY = ('--arch', 'resnet18', '--weights', 'random', '--image-size', '32', '--device', 'cpu',
        '--threads', '1', '--batch-size', '12')


def train(data: Path, out: Path, *words: str) -> int:
    """Run the command."""
    return main(['train', '--images', str(data), '--output', str(out), *TINY, *words])
