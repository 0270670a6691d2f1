"""One picture of many: a row of tiles for each camera, with their names below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.imaging.text import fitted_mask, text_mask

# Pixels. Most photographs are three to two.
_WIDTH, _HEIGHT, _GAP, _MARGIN = 420, 280, 20, 28
_TITLE, _HEADING, _NAME, _OTHERS, _BAR = 36, 26, 30, 20, 8
#: Between the lines below a picture.
_LEADING = 6
_PAPER, _INK, _FAINT = (255, 255, 255), (28, 32, 38), (110, 116, 126)
_SURROUND, _TRACK, _GREEN = (226, 229, 234), (226, 229, 234), (46, 168, 108)


@dataclass(frozen=True)
class Tile:
    """
    A picture of the sheet.

    :param pixels: uint8 (H, W, 3) RGB.
    :param predictions: what it was named, falling scores.
    """

    pixels: Any
    predictions: Sequence[Prediction]


def draw_sheet(title: str, rows: Mapping[str, Sequence[Tile]], path: Path) -> None:
    """
    Write pictures in rows, each as large as its place allows.

    :param title: above all rows.
    :param rows: heading to the tiles below it.
    :param path: the file to write.
    """
    drawn = {heading: [_tile(tile) for tile in tiles] for heading, tiles in rows.items()}
    heading_height = text_mask('Ag', _HEADING).height + _LEADING
    row_height = heading_height + _GAP + max(
        image.height for images in drawn.values() for image in images)
    columns = max(map(len, rows.values()))
    width = columns * (_WIDTH + _GAP) - _GAP
    headline = fitted_mask(title, _TITLE, width)
    first_row = _MARGIN + headline.height + _GAP
    sheet = Image.new('RGB', (
        width + 2 * _MARGIN, first_row + len(rows) * row_height - _GAP + _MARGIN), _PAPER)
    sheet.paste(_INK, (_MARGIN, _MARGIN), headline)
    for row, (heading, images) in enumerate(drawn.items()):
        top = first_row + row * row_height
        sheet.paste(_FAINT, (_MARGIN, top), fitted_mask(heading, _HEADING, width))
        for column, image in enumerate(images):
            sheet.paste(image, (_MARGIN + column * (_WIDTH + _GAP), top + heading_height))
    sheet.save(path, optimize=True)


def _tile(tile: Tile) -> Image.Image:
    """Return a picture with its best name, the bar of its score and its other names."""
    name_top = _HEIGHT + _LEADING
    bar_top = name_top + text_mask('Ag', _NAME).height + _LEADING
    others_top = bar_top + _BAR + _LEADING
    image = Image.new(
        'RGB', (_WIDTH, others_top + text_mask('Ag', _OTHERS).height + _LEADING), _PAPER)
    image.paste(_fitted(tile.pixels), (0, 0))
    if not tile.predictions:
        image.paste(_FAINT, (0, name_top), text_mask('no name', _NAME))
        return image
    best, *others = tile.predictions
    score = text_mask(_percent(best), _NAME)
    image.paste(_INK, (0, name_top), fitted_mask(best.label, _NAME, _WIDTH - score.width - _GAP))
    image.paste(_INK, (_WIDTH - score.width, name_top), score)
    draw = ImageDraw.Draw(image)
    for colour, share in ((_TRACK, 1.0), (_GREEN, best.score)):
        draw.rectangle(
            (0, bar_top, round(share * (_WIDTH - 1)), bar_top + _BAR - 1), fill=colour)
    words = ', '.join(f'{other.label} {_percent(other)}' for other in others)
    image.paste(_FAINT, (0, others_top), fitted_mask(words, _OTHERS, _WIDTH))
    return image


def _percent(prediction: Prediction) -> str:
    return f'{prediction.score * 100:.0f} %'


def _fitted(pixels: Any) -> Image.Image:
    """Return a picture whole and in the middle of its place."""
    place = Image.new('RGB', (_WIDTH, _HEIGHT), _SURROUND)
    picture = Image.fromarray(pixels)
    scale = min(_WIDTH / picture.width, _HEIGHT / picture.height)
    size = round(picture.width * scale), round(picture.height * scale)
    place.paste(
        picture.resize(size, Image.Resampling.LANCZOS),
        ((_WIDTH - size[0]) // 2, (_HEIGHT - size[1]) // 2))
    return place
