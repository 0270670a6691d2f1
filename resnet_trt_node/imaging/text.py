"""Text as pixels with whatever font this machine has, for drawing on pictures of any size."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from math import ceil
from typing import Any
import unicodedata

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resnet_trt_node.text.printable import printable

#: Looked for where Pillow's own font lacks a letter, or where Pillow is too old to have one.
#: DejaVu knows most alphabets, Noto and WenQuanYi the Chinese, Japanese and Korean ones.
_SYSTEM_FONTS = (
    'DejaVuSans.ttf', 'NotoSans-Regular.ttf', 'NotoSansCJK-Regular.ttc', 'wqy-zenhei.ttc')
#: A code point that no font may draw, so its picture is what a font shows for unknown letters.
_NO_LETTER = '\uffff'
_ELLIPSIS = '...'


@lru_cache(maxsize=256)
def text_mask(text: str, size: int) -> Image.Image:
    """
    Draw one line of text.

    :param text: any Unicode; letters that no font here has lose their accents, and those that
        have none are drawn as boxes or '?'.
    :param size: the font's height in pixels, at least 1.
    :returns: an 'L' image, 255 where ink is, 0 elsewhere; its height depends on the font and
        the size only, so that lines align. Cached: do not change it.
    """
    font, missing = _font_for(text, size)
    text = ''.join(_without_accent(letter) if letter in missing else letter for letter in text)
    if isinstance(font, ImageFont.FreeTypeFont):
        return _draw(text, font, sum(font.getmetrics()))
    # Pillow's bitmap font has one size and Latin-1 letters: draw it so, then enlarge it.
    mask = _draw(text.encode('latin-1', 'replace').decode('latin-1'), font, 11)
    if size < 2 * mask.height:
        return mask
    factor = size // mask.height
    return Image.fromarray(np.asarray(mask).repeat(factor, axis=0).repeat(factor, axis=1))


def fitted_mask(text: str, size: int, width: int) -> Image.Image:
    """
    Draw one line of text no wider than it may be, shortened with '...' if need be.

    :param text: any Unicode; line breaks become spaces, of a very long one the start is drawn.
    :param size: the font's height in pixels.
    :param width: the widest allowed, in pixels.
    :returns: as `text_mask`; of width 0 if not even one letter fits.
    """
    text = printable(' '.join(text.split()))
    mask = text_mask(text, size)
    if mask.width <= width:
        return mask
    shortest, longest = 0, len(text)
    while shortest < longest:  # the most letters that fit, by halving
        middle = (shortest + longest + 1) // 2
        if text_mask(text[:middle].rstrip() + _ELLIPSIS, size).width <= width:
            shortest = middle
        else:
            longest = middle - 1
    if shortest == 0:
        return Image.new('L', (0, mask.height))
    return text_mask(text[:shortest].rstrip() + _ELLIPSIS, size)


def _draw(text: str, font: Any, height: int) -> Image.Image:
    # Old Pillow measures its bitmap font by no other means than drawing it.
    width = font.getlength(text) if hasattr(font, 'getlength') else font.getmask(text).size[0]
    mask = Image.new('L', (max(1, ceil(width)), height))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    return mask


def _font_for(text: str, size: int) -> tuple[Any, set[str]]:
    """Return the first font with the fewest letters missing, and these letters."""
    choices = [(font, _missing(font, text)) for font in _fonts(size)]
    return min(choices, key=lambda choice: len(choice[1]))


@lru_cache(maxsize=32)
def _fonts(size: int) -> tuple[Any, ...]:
    """Return the fonts that are here, best first, the bitmap font only if there is no other."""
    fonts: list[Any] = []
    # Pillow before 10.1, or built without FreeType: see the end.
    with suppress(TypeError, ImportError):
        fonts.append(ImageFont.load_default(size))
    for name in _SYSTEM_FONTS:
        with suppress(OSError, ImportError):  # not installed here
            fonts.append(ImageFont.truetype(name, size))
    return tuple(fonts) or (ImageFont.load_default(),)


def _missing(font: Any, text: str) -> set[str]:
    """Return the letters of a text that a font draws as it draws what it does not know."""
    letters = {letter for letter in text if not letter.isascii() and not letter.isspace()}
    if not letters:
        return letters
    if not isinstance(font, ImageFont.FreeTypeFont):
        return {letter for letter in letters if ord(letter) > 255}
    unknown = bytes(font.getmask(_NO_LETTER))
    return {letter for letter in letters if bytes(font.getmask(letter)) == unknown}


def _without_accent(letter: str) -> str:
    plain = unicodedata.normalize('NFKD', letter).encode('ascii', 'ignore').decode('ascii')
    return plain or letter
