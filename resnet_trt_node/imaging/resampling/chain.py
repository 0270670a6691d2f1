"""The fast method: which pixels its chain of steps reads for a crop, and the steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import Any, Optional, TYPE_CHECKING

import cv2
import numpy as np

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame, to_rgb
from resnet_trt_node.imaging.limits import MAX_WARP_SIDE
from resnet_trt_node.imaging.resampling.blur import (
    Blur, count_halvings, CUBIC_SHARE, fit_blur, LAST_STEPS, SUPPORT)
from resnet_trt_node.imaging.resampling.crop_plan import Axis, plan_crop

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The fast chain is used where its weights differ from Pillow's by less than this, relative to
#: their norm; a mean error of a level on photographs lies there.
_MAX_MISFIT = 0.1
#: Below this the last step is linear, which is quicker than the others.
_GOOD_MISFIT = 0.08
#: The others are used for frames where they differ by less than this: for enlarging, and a little
#: above it. Elsewhere a frame is worth the exact method's time.
_MAX_FRAME_MISFIT = 0.04
#: And where the filter reaches no further than this in the halved picture, either way. Only a
#: stretch of very long pictures needs more.
_MAX_SUPPORT = 16
#: Blurs are fitted for so many scales an octave, so that endless sizes share a few of them.
_SCALES_PER_OCTAVE = 64
#: Any that is no ratio of small numbers, so that a fit sees all phases of the output's grid.
_ODD_SCALE = 0.618
#: The mean of four integers is rounded up at a half: an eighth of a level brighter on average.
_HALVING_BIAS = 0.125
#: So many output pixels may be made in vain to come a source pixel closer to the right place, and
#: so many at most.
_PIXELS_PER_SHIFT = 4000
_MAX_EXTRA = 256
_EXTRA_COSTS = np.arange(_MAX_EXTRA + 1) / _PIXELS_PER_SHIFT


@dataclass(frozen=True)
class _Cut:
    """
    One axis of the fast method.

    :param source: pixels that are read.
    :param missing: how many more halving needs behind them.
    :param window: of the pixels that were halved and blurred, those that are interpolated.
    :param count: into how many.
    :param wanted: which of these are the crop.
    """

    source: slice
    missing: int
    window: slice
    count: int
    wanted: slice


@dataclass(frozen=True)
class Chain:
    """
    The fast method for pictures of one size; the taps are read only and shared.

    :param halvings: how often a picture is halved first.
    :param vertical: the rows.
    :param horizontal: the columns.
    :param blurs: what follows on halving, of the rows and of the columns.
    :param last_step: how it is interpolated, one of `LAST_STEPS`.
    :param affine: from output to blurred pixels, for OpenCV's warp; None where it is a plain
        resize.
    """

    halvings: int
    vertical: _Cut
    horizontal: _Cut
    blurs: tuple[Blur, Blur]
    last_step: str
    affine: Optional[NDArray[np.float64]]

    def run(self, frame: Frame, out: NDArray[np.uint8]) -> None:
        """
        Halve, blur, interpolate and write as RGB.

        :param frame: of the size that was planned for; not changed.
        :param out: uint8 (crop_height, crop_width, 3), wholly overwritten.
        """
        vertical, horizontal = self.vertical, self.horizontal
        pixels: Any = frame.pixels[vertical.source, horizontal.source]
        if vertical.missing or horizontal.missing:
            pixels = cv2.copyMakeBorder(
                pixels, 0, vertical.missing, 0, horizontal.missing, cv2.BORDER_REFLECT)
        for _ in range(self.halvings):
            half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
            pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
        down, across = self.blurs
        if down.radius or across.radius:
            pixels = cv2.sepFilter2D(
                pixels, -1, across.taps, down.taps,
                delta=-_HALVING_BIAS * self.halvings, borderType=cv2.BORDER_REFLECT)
        pixels, order = pixels[vertical.window, horizontal.window], frame.order
        if pixels.shape[2:] == (4,):
            # OpenCV's cubic rounds four channels otherwise than three.
            pixels, order = to_rgb(pixels, order), 'rgb'
        size = (horizontal.count, vertical.count)
        target = out if order == 'rgb' and size == out.shape[1::-1] else None
        if self.affine is None:
            pixels = _interpolate(pixels, size, self.last_step, target)
        else:
            pixels = cv2.warpAffine(
                pixels, self.affine, size, dst=target, borderMode=cv2.BORDER_REPLICATE,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        if target is None:
            to_rgb(pixels[vertical.wanted, horizontal.wanted], order, out)


def _interpolate(
        pixels: Any, size: tuple[int, int], last_step: str,
        target: Optional[NDArray[np.uint8]]) -> Any:
    """Return pixels resized without antialiasing, written to the target if there is one."""
    if last_step == 'linear':
        return cv2.resize(pixels, size, dst=target, interpolation=cv2.INTER_LINEAR)
    cubic = cv2.resize(pixels, size, dst=target, interpolation=cv2.INTER_CUBIC)
    if last_step == 'cubic':
        return cubic
    linear = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(cubic, CUBIC_SHARE, linear, 1.0 - CUBIC_SHARE, 0.0, dst=target)


# Regions have endless sizes; a plan takes a few hundred bytes.
@lru_cache(maxsize=4096)
def plan_chain(
        rule: ResizeRule, height: int, width: int, reduction: int,
        many: bool = False) -> Optional[Chain]:
    """
    Plan the fast method for pictures of one size.

    :param rule: how a picture becomes the model's input, by a filter.
    :param height: rows of the source.
    :param width: columns of the source.
    :param reduction: see `Frame`.
    :param many: see `Resizer`.
    :returns: None where no chain is close enough.
    """
    axes = plan_crop(rule, height, width, reduction)
    # A stretch may scale the axes differently; halving takes both.
    halvings = count_halvings(min(axis.scale for axis in axes))
    if (SUPPORT[rule.interpolation] * max(axis.scale for axis in axes)
            > _MAX_SUPPORT * 2**halvings):
        return None

    def fit(last_step: str) -> tuple[float, str, tuple[Blur, Blur]]:
        down, across = (
            _fit_blur(axis.scale, reduction, halvings, rule.interpolation, last_step)
            for axis in axes)
        return max(down.misfit, across.misfit), last_step, (down, across)

    linear = best = fit('linear')
    if linear[0] > _GOOD_MISFIT:
        best = min(linear, fit('cubic'), fit('mixed'), key=lambda fitted: fitted[0])
        if best[0] > (_MAX_MISFIT if many else _MAX_FRAME_MISFIT):
            best = linear
    misfit, last_step, blurs = best
    if misfit > _MAX_MISFIT:
        return None
    if last_step == 'linear' and max(axis.scale for axis in axes) > 1.0:
        chain = _plan_warp(axes, halvings, blurs)
        if chain is not None:
            return chain
    vertical, horizontal = (
        _plan_cut(axis, halvings, blur.radius, last_step) for axis, blur in zip(axes, blurs))
    return Chain(halvings, vertical, horizontal, blurs, last_step, None)


def _plan_warp(
        axes: tuple[Axis, Axis], halvings: int, blurs: tuple[Blur, Blur]) -> Optional[Chain]:
    """
    Place the crop by a warp, which is slower than a resize but begins and ends anywhere.

    Shrinking, most of the time goes into the blur, and a cut has more pixels to blur.
    """
    block = 2**halvings
    cuts, rows = [], []
    for axis, blur in zip(axes, blurs):
        source = axis.window((blur.radius + 2) * block, block)
        cuts.append(_Cut(source, 0, slice(None), axis.count, slice(None)))
        scale = axis.scale / block
        rows.append((scale, (axis.start - source.start) / block + 0.5 * scale - 0.5))
    if any(cut.source.stop - cut.source.start > MAX_WARP_SIDE * block for cut in cuts):
        return None
    (y_scale, y), (x_scale, x) = rows
    affine = np.array([[x_scale, 0.0, x], [0.0, y_scale, y]])
    return Chain(halvings, cuts[0], cuts[1], blurs, 'linear', affine)


def _fit_blur(
        scale: float, reduction: int, halvings: int, interpolation: str, last_step: str) -> Blur:
    """Return the blur for about this scale, in pixels of the reduced picture."""
    # What the decoder reduced was halved too; the taps make up for that as well.
    scale, halvings = scale * reduction, halvings + reduction.bit_length() - 1
    if scale < 1.0:
        # Enlarging, the filter has one width.
        fitted = _ODD_SCALE
    elif (8.0 * scale).is_integer():
        # The output's grid has few phases, and taps for just these fit far better.
        fitted = scale
    else:
        steps = math.floor(math.log2(scale) * _SCALES_PER_OCTAVE) + 0.5
        fitted = 2.0 ** (steps / _SCALES_PER_OCTAVE)
    return fit_blur(fitted, halvings, interpolation, last_step)


# The short side of a region is scaled by its own length alone, so that few of its cuts are new.
@lru_cache(maxsize=4096)
def _plan_cut(axis: Axis, halvings: int, radius: int, last_step: str) -> _Cut:
    """
    Find the pixels that an axis of the crop needs.

    OpenCV's resize, by far its fastest interpolation, spreads whole pixels over whole pixels. So
    they begin and end where the edge of an output pixel, at or beyond the crop's, lies close
    enough to that of a halved source pixel.
    """
    block = 2**halvings
    scale = axis.scale / block
    first = round(axis.start / axis.scale)
    # The interpolation repeats its last pixels, which only the picture's own edges should see.
    margin = max(0, math.ceil((LAST_STEPS[last_step] - 0.5) / scale - 0.5))
    low = _meeting(max(0, first - margin), -1, scale)
    high, whole = first + axis.count + margin, axis.length / axis.scale
    if high >= whole - 1e-6 and axis.length % block == 0 and abs(round(whole) - whole) < 1e-6:
        high = round(whole)
    else:
        high = _meeting(high, 1, scale)
    start = round(low * scale)
    end = max(start + 1, round(high * scale))
    # What the blur reads on either side, where the picture has it.
    before = max(0, start - radius)
    after = max(end, min(-(-axis.length // block), end + radius))
    stop = min(axis.length, after * block)
    return _Cut(
        slice(before * block, stop), after * block - stop,
        slice(start - before, end - before), high - low,
        slice(first - low, first - low + axis.count))


def _meeting(nearest: int, step: int, scale: float) -> int:
    """Return an output pixel, this or one further on, whose edge is close to a source pixel's."""
    if nearest == 0:
        return 0
    count = _MAX_EXTRA if step > 0 else min(_MAX_EXTRA, nearest) + 1
    edges = np.arange(nearest, nearest + step * count, step, dtype=np.float64)
    edges *= scale
    # In place, since new arrays take as long as what is done with them.
    edges -= np.rint(edges)
    np.abs(edges, out=edges)
    edges += _EXTRA_COSTS[:count]
    return nearest + step * int(edges.argmin())
