"""
TrivialAugment: one alteration a picture, of random kind and strength.

Müller and Hutter, https://arxiv.org/abs/2103.10158, with the strengths of their wide set. Two
things differ. Pictures are moved by at most 150 / 331 of their sides, as in AutoAugment,
https://arxiv.org/abs/1805.09501, which does not depend on their size as 32 pixels would. And
histograms are not equalised, which a GPU does slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Kinds of alteration, equally likely.
KINDS = (
    'identity', 'shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate', 'brightness',
    'contrast', 'saturation', 'sharpness', 'posterize', 'solarize', 'autocontrast')
_SHEAR = 0.99
_TRANSLATE = 150 / 331
_ROTATE_DEGREES = 135.0
_ENHANCE = 0.99
_POSTERIZE_BITS = 6
#: Above all values: nothing is inverted.
_NEVER = 256.0


@dataclass(frozen=True)
class Alterations:
    """
    Those of n pictures, as numbers that change nothing where another kind was drawn.

    :param warps: float32 (n, 2, 3): where a point of the altered picture lies in the original,
        both from -1 to 1 along each side.
    :param colours: float32 (n, 3), factors of brightness, contrast and saturation.
    :param tones: float32 (n, 4), see `alter_tones`.
    """

    warps: NDArray[np.float32]
    colours: NDArray[np.float32]
    tones: NDArray[np.float32]


def draw_alterations(random: np.random.Generator, count: int) -> Alterations:
    """
    Draw alterations.

    :param random: where from.
    :param count: n.
    """
    kinds = random.integers(len(KINDS), size=count)
    strengths = random.random(count)
    signed = np.where(random.random(count) < 0.5, -strengths, strengths)

    def of(kind: str, values: NDArray[np.float64], otherwise: float = 0.0) -> NDArray[np.float64]:
        return np.where(kinds == KINDS.index(kind), values, otherwise)

    angles = of('rotate', np.radians(_ROTATE_DEGREES) * signed)
    cosines, sines = np.cos(angles), np.sin(angles)
    # One kind a picture: where there is a shear, the angle is 0, and the other way round.
    warps = np.stack([
        np.stack([cosines, of('shear_x', _SHEAR * signed) - sines,
                  of('translate_x', 2 * _TRANSLATE * signed)], axis=1),
        np.stack([of('shear_y', _SHEAR * signed) + sines, cosines,
                  of('translate_y', 2 * _TRANSLATE * signed)], axis=1)], axis=1)
    enhanced = 1 + _ENHANCE * signed
    return Alterations(
        warps.astype(np.float32),
        np.stack([of(kind, enhanced, 1.0) for kind in ('brightness', 'contrast', 'saturation')],
                 axis=1).astype(np.float32),
        np.stack([
            of('posterize', 2 ** np.round(_POSTERIZE_BITS * strengths), 1.0),
            of('solarize', 255 * (1 - strengths), _NEVER),
            of('sharpness', enhanced, 1.0),
            of('autocontrast', np.ones(count))], axis=1).astype(np.float32))


def alter_tones(pictures: torch.Tensor, tones: torch.Tensor) -> torch.Tensor:
    """
    Posterise, solarise, sharpen and stretch the contrast of pictures.

    :param pictures: float32 (B, 3, T, T), 0 to 255.
    :param tones: float32 (B, 4): values become multiples of the first, 1 for no change; those
        from the second on are inverted; the third is the share of the picture in a mix with its
        smoothed self, 1 for no change; where the fourth is 1, each channel is stretched to 0..255.
    :returns: of the same kind.
    """
    step, threshold, sharpness, stretch = (one.reshape(-1, 1, 1, 1) for one in tones.unbind(1))
    low = pictures.amin((2, 3), keepdim=True)
    span = pictures.amax((2, 3), keepdim=True) - low
    flat = (stretch == 0) | (span < 1)
    pictures = torch.where(flat, pictures, (pictures - low) * (255 / torch.clamp(span, min=1)))
    pictures = torch.where(pictures >= threshold, 255 - pictures, pictures)
    pictures = torch.where(step > 1, torch.floor(pictures / step) * step, pictures)
    # Pillow's kernel: 5 in the middle of eight ones.
    mean = functional.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    smooth = (9 * mean + 4 * pictures) / 13
    return torch.clamp(smooth + sharpness * (pictures - smooth), 0, 255)
