"""All pictures of the demo on one sheet."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
import numpy as np
from numpy.typing import NDArray


def draw_sheet(
        tiles: list[NDArray[np.uint8]], captions: list[str], title: str, columns: int,
        path: Path) -> None:
    """Write pictures under their captions, which can be read where a README shows the sheet."""
    rows = -(-len(tiles) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.7 * rows + 0.4), layout='constrained')
    figure.suptitle(title, fontsize=13)
    for place, (tile, caption) in enumerate(zip(tiles, captions), start=1):
        axis = figure.add_subplot(rows, columns, place)
        axis.imshow(tile)
        axis.set_title(caption, fontsize=11)
        axis.axis('off')
    figure.savefig(path, dpi=110)
