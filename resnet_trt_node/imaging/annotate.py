"""Drawing predictions on pictures: a panel of names and score bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from resnet_trt_node.imaging.frame import Frame, to_rgb
from resnet_trt_node.imaging.text import fitted_mask, text_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from resnet_trt_node.contract.prediction import Prediction

_PANEL = (16, 18, 24)
_PANEL_ALPHA = 190  # of 255: bright pictures shine through without drowning white letters
_TEXT = (255, 255, 255)
_FAINT_TEXT = (190, 196, 206)
_TRACK = (74, 80, 92)
_BAR = (64, 196, 132)
_NOTHING = 'no class above the threshold'


@dataclass(frozen=True)
class _Layout:
    """Sizes of a panel in pixels, all derived from the picture's."""

    left: int
    top: int
    width: int
    height: int
    padding: int
    font: int
    bar: int
    row: int


def annotate(frame: Frame, predictions: Sequence[Prediction]) -> NDArray[np.uint8]:
    """
    Draw a panel with the predictions into the lower left corner of a copy of the picture.

    The panel's size follows the picture's; rows that do not fit are left out, least probable
    first, and a picture too small for a single row comes back as it is.

    :param frame: the picture, at least 1x1.
    :param predictions: falling scores; none draws a line that says so.
    :returns: uint8 (H, W, 3) RGB, owned by the caller.
    """
    picture = to_rgb(frame.pixels, frame.order)
    layout = _layout(picture.shape[0], picture.shape[1], max(1, len(predictions)))
    if layout is None:
        return picture
    rows = slice(layout.top, layout.top + layout.height)
    columns = slice(layout.left, layout.left + layout.width)
    # Only the panel's region goes through Pillow: a 4K picture costs no more than its panel.
    region = Image.fromarray(picture[rows, columns])
    shade = Image.new('L', region.size, 0)
    ImageDraw.Draw(shade).rounded_rectangle(
        (0, 0, layout.width - 1, layout.height - 1), fill=_PANEL_ALPHA,
        radius=layout.padding if layout.left else 0)
    region.paste(_PANEL, (0, 0), shade)
    if predictions:
        for row in range((layout.height - layout.padding) // layout.row):
            _draw_row(region, layout, row, predictions[row])
    else:
        text = fitted_mask(_NOTHING, layout.font, layout.width - 2 * layout.padding)
        region.paste(_FAINT_TEXT, (layout.padding, layout.padding), text)
    picture[rows, columns] = np.asarray(region)
    return picture


def _layout(height: int, width: int, rows: int) -> Optional[_Layout]:
    """Return the panel's sizes for a picture, None if not even one row fits."""
    # 1/24 of the short side reads well from 480p to 4K; below 9 pixels no letter is legible.
    font = min(max(9, min(height, width) // 24), 160)
    bar = max(2, font // 5)
    row = text_mask('Ag', font).height + bar + max(2, font // 3)
    padding = max(2, font // 2)
    margin = font // 2 if min(height, width) >= 160 else 0
    # Half the picture stays free, except on one so small that its only row needs more.
    rows = min(rows, max(1, (height // 2 - padding) // row))
    panel_height = rows * row + padding
    panel_width = min(width - 2 * margin, 20 * font)
    if panel_height + margin > height or panel_width < 4 * font:
        return None
    return _Layout(
        left=margin, top=height - margin - panel_height, width=panel_width, height=panel_height,
        padding=padding, font=font, bar=bar, row=row)


def _draw_row(
        region: Image.Image, layout: _Layout, row: int, prediction: Prediction) -> None:
    """Draw one name with its score to the right and its bar below."""
    left, right = layout.padding, layout.width - layout.padding
    top = layout.padding + row * layout.row
    colour = _TEXT if row == 0 else _FAINT_TEXT
    score = text_mask(f'{prediction.score * 100:.1f} %', layout.font)
    # On a narrow picture the name matters more than the number, which the bar shows as well.
    room = right - left
    if score.width * 3 < room:
        region.paste(colour, (right - score.width, top), score)
        room -= score.width + layout.font // 2
    region.paste(colour, (left, top), fitted_mask(prediction.label, layout.font, room))
    draw = ImageDraw.Draw(region)
    bar_top = top + score.height
    bar_bottom = bar_top + layout.bar - 1
    draw.rectangle((left, bar_top, right - 1, bar_bottom), fill=_TRACK)
    filled = round(prediction.score * (right - left))
    if filled:
        draw.rectangle((left, bar_top, left + filled - 1, bar_bottom), fill=_BAR)
