"""From a frame of any size to the model's input: one resize and one centre crop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import Any, get_args, Literal, Optional, TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import check_choice, FrameError, UsageError
from resnet_trt_node.imaging.fast_resize import (
    Blur, count_halvings, CUBIC_SHARE, fit_blur, LAST_STEPS, SUPPORT)
from resnet_trt_node.imaging.frame import CHANNELS, Frame, to_rgb

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How frames are resized, see `Resizer`.
ResizeMethod = Literal['fast', 'exact']

#: 'exact' differs from Pillow's resize and crop by at most this, in levels of 0 to 255.
EXACT_MAX_ERROR = 1
#: 'fast' differs from it by at most this on the photographs it was tried on, 200 of ImageNet at
#: several sizes: mean, and all but a thousandth of the values of a frame. Nine of ten photographs
#: stay within a level and 99 of 100 within 12.
FAST_MEAN_ERROR = 3.0
FAST_P999_ERROR = 18

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
#: Sides that OpenCV's `warpAffine` can address.
_MAX_WARP_SIDE = 32_766
#: So many output pixels may be made in vain to come a source pixel closer to the right place, and
#: so many at most.
_PIXELS_PER_SHIFT = 4000
_MAX_EXTRA = 256

# Pillow before 9.1, which Ubuntu 22.04 has, knows the filters by their plain names only.
_RESAMPLING: Any = getattr(Image, 'Resampling', Image)
_FILTERS = {'bilinear': _RESAMPLING.BILINEAR, 'bicubic': _RESAMPLING.BICUBIC}


class Resizer:
    """
    Resizes and crops frames to a model's input by its resize rule.

    Two methods, both of which touch only what the crop needs and swap colours last:

    - 'exact' is Pillow's own resampling on the same grid; every value lies within
      `EXACT_MAX_ERROR` of Pillow's resize and crop, which is what torchvision evaluates with.
    - 'fast', the default, is a chain of OpenCV's vectorised steps fitted to Pillow's filter (see
      `fast_resize`). It takes a third of the exact method's time for VGA, a quarter for 1080p, a
      fifth for enlarging bilinearly and a third for enlarging by a cubic. It differs within
      `FAST_MEAN_ERROR` and `FAST_P999_ERROR` on photographs, so that networks name 99 of 100
      pictures alike. Where the chain is not close enough, which its weights tell beforehand, it
      is the exact method: at some ratios from 1.1 to 1.8, unless there are `many` pictures, and
      for a stretch of very long ones.

    Evaluate a model with 'exact' to compare with published numbers; run a camera with 'fast'.
    Any number of threads may use one object; OpenCV and Pillow release the GIL.

    :param rule: how a picture becomes the model's input.
    :param method: 'fast' or 'exact'.
    :param many: the pictures are so many that 'fast' should be itself at these ratios too. Within
        the same errors, a network then names 98 of 100 pictures of such a size alike.
    :raises UsageError: for another method.
    """

    def __init__(
            self, rule: ResizeRule, method: ResizeMethod = 'fast', many: bool = False) -> None:
        check_choice('resize method', method, get_args(ResizeMethod))
        self.rule = rule
        self.method: ResizeMethod = method
        self._max_misfit = _MAX_MISFIT if many else _MAX_FRAME_MISFIT

    @property
    def decode_side(self) -> Optional[int]:
        """
        Return how many pixels a side a jpeg must keep when it is decoded at reduced size.

        :returns: for `decode_compressed`; None where it must be decoded at full size.
        """
        if self.method == 'exact' or self.rule.interpolation == 'nearest':
            return None
        # Twice what is needed: the decoder's own filter is a crude one.
        return 2 * (self.rule.short_side or max(self.rule.crop_height, self.rule.crop_width))

    def resize(self, frame: Frame, out: NDArray[np.uint8]) -> None:
        """
        Write the resized and cropped frame.

        :param frame: any decoded frame; not changed.
        :param out: uint8 (crop_height, crop_width, 3), RGB, each row contiguous, the caller's;
            wholly overwritten.
        :raises FrameError: if the frame has no pixels, or its shape is not that of its order.
        :raises UsageError: if `out` cannot take the result.
        """
        rule = self.rule
        _check_frame(frame)
        check_row(out, rule)
        if rule.interpolation == 'nearest':
            rows, columns = _nearest_pixels(rule, *frame.size, frame.reduction)
            to_rgb(frame.pixels[rows[:, None], columns], frame.order, out)
            return
        chain = (
            _plan_chain(rule, *frame.size, frame.reduction, self._max_misfit)
            if self.method == 'fast' else None)
        if chain is None:
            _resize_exact(frame, rule, out)
        else:
            chain.run(frame, out)


def check_row(out: NDArray[np.uint8], rule: ResizeRule) -> None:
    """
    Refuse an array that cannot take a picture resized by a rule.

    :raises UsageError: unless it is a writable uint8 (crop_height, crop_width, 3) whose rows are
        contiguous.
    """
    if (out.shape != (rule.crop_height, rule.crop_width, 3) or out.dtype != np.uint8
            or out.strides[1:] != (3, 1) or not out.flags.writeable):
        raise UsageError(
            f'cannot resize into {out.dtype} {out.shape}: give a writable uint8 '
            f'({rule.crop_height}, {rule.crop_width}, 3) whose rows are contiguous, such as a '
            'row of a batch buffer')


@dataclass(frozen=True)
class Axis:
    """
    The crop along one axis of the source.

    :param scale: source pixels an output pixel.
    :param start: where the crop begins, in source pixels from the picture's edge.
    :param count: output pixels.
    :param length: source pixels of the whole picture.
    """

    scale: float
    start: float
    count: int
    length: int

    @property
    def end(self) -> float:
        """Return where the crop ends, in source pixels from the picture's edge."""
        return min(float(self.length), self.start + self.count * self.scale)

    def window(self, margin: float, block: int = 1) -> slice:
        """
        Return the source pixels of the crop and a margin, as far as there are any.

        :param margin: source pixels that a filter reads beyond the crop.
        :param block: the number of pixels is made a multiple of it, where there are so many.
        """
        low = max(0, math.floor(self.start - margin))
        high = min(self.length, math.ceil(self.end + margin))
        missing = -(high - low) % block
        high = min(self.length, high + missing)
        low = max(0, low - (-(high - low) % block))
        return slice(low, low + max(1, (high - low) // block) * block)


def plan_crop(
        rule: ResizeRule, height: int, width: int, reduction: int = 1) -> tuple[Axis, Axis]:
    """
    Place the model's crop in a source picture, as torchvision's Resize and CenterCrop do.

    :param rule: how a picture becomes the model's input.
    :param height: rows of the source.
    :param width: columns of the source.
    :param reduction: see `Frame`.
    :returns: the vertical and the horizontal axis, in pixels of the reduced picture.
    """
    lengths, counts = (height, width), (rule.crop_height, rule.crop_width)
    resized = counts
    if rule.short_side is not None:
        # The long side is rounded down, so that the two scales differ a little.
        long_side = int(rule.short_side * max(height, width) / min(height, width))
        resized = (
            (long_side, rule.short_side) if width <= height else (rule.short_side, long_side))
    axes = []
    for length, new_length, count in zip(lengths, resized, counts):
        scale = length / new_length
        # round() goes to the even neighbour at a half, as torchvision's does.
        first = round((new_length - count) / 2.0)
        axes.append(Axis(
            scale / reduction, first * scale / reduction, count, -(-length // reduction)))
    return axes[0], axes[1]


@dataclass(frozen=True)
class _Cut:
    """
    One axis of the fast method.

    :param source: pixels that are read.
    :param missing: how many more halving needs behind them.
    :param blur: what follows on halving.
    :param window: of the blurred pixels, those that are interpolated.
    :param count: into how many.
    :param wanted: which of these are the crop.
    """

    source: slice
    missing: int
    blur: Blur
    window: slice
    count: int
    wanted: slice


@dataclass(frozen=True)
class _Chain:
    """The fast method for pictures of one size; the taps are read only and shared."""

    halvings: int
    vertical: _Cut
    horizontal: _Cut
    last_step: str
    #: From output to blurred pixels, for OpenCV's warp; None where it is a plain resize.
    affine: Optional[NDArray[np.float64]]

    def run(self, frame: Frame, out: NDArray[np.uint8]) -> None:
        """Halve, blur, interpolate and write as RGB."""
        vertical, horizontal = self.vertical, self.horizontal
        pixels: Any = frame.pixels[vertical.source, horizontal.source]
        if vertical.missing or horizontal.missing:
            pixels = cv2.copyMakeBorder(
                pixels, 0, vertical.missing, 0, horizontal.missing, cv2.BORDER_REFLECT)
        for _ in range(self.halvings):
            half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
            pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
        if vertical.blur.radius or horizontal.blur.radius:
            pixels = cv2.sepFilter2D(
                pixels, -1, horizontal.blur.taps, vertical.blur.taps,
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
def _plan_chain(
        rule: ResizeRule, height: int, width: int, reduction: int,
        max_misfit: float) -> Optional[_Chain]:
    """Return the fast method for pictures of this size, None where it is not close enough."""
    axes = plan_crop(rule, height, width, reduction)
    # A stretch may scale the axes differently; halving takes both.
    halvings = count_halvings(min(axis.scale for axis in axes))
    if (SUPPORT[rule.interpolation] * max(axis.scale for axis in axes)
            > _MAX_SUPPORT * 2**halvings):
        return None

    def fit(last_step: str) -> tuple[float, str, list[Blur]]:
        blurs = [
            _fit_blur(axis.scale, reduction, halvings, rule.interpolation, last_step)
            for axis in axes]
        return max(blur.misfit for blur in blurs), last_step, blurs

    linear = best = fit('linear')
    if linear[0] > _GOOD_MISFIT:
        best = min(linear, fit('cubic'), fit('mixed'), key=lambda fitted: fitted[0])
        if best[0] > max_misfit:
            best = linear
    misfit, last_step, blurs = best
    if misfit > _MAX_MISFIT:
        return None
    if last_step == 'linear' and max(axis.scale for axis in axes) > 1.0:
        chain = _plan_warp(axes, halvings, blurs)
        if chain is not None:
            return chain
    vertical, horizontal = (
        _plan_cut(axis, halvings, blur, last_step) for axis, blur in zip(axes, blurs))
    return _Chain(halvings, vertical, horizontal, last_step, None)


def _plan_warp(
        axes: tuple[Axis, Axis], halvings: int, blurs: list[Blur]) -> Optional[_Chain]:
    """
    Place the crop by a warp, which is slower than a resize but begins and ends anywhere.

    Shrinking, most of the time goes into the blur, and a cut has more pixels to blur.
    """
    block = 2**halvings
    cuts, rows = [], []
    for axis, blur in zip(axes, blurs):
        source = axis.window((blur.radius + 2) * block, block)
        cuts.append(_Cut(source, 0, blur, slice(None), axis.count, slice(None)))
        scale = axis.scale / block
        rows.append((scale, (axis.start - source.start) / block + 0.5 * scale - 0.5))
    if any(cut.source.stop - cut.source.start > _MAX_WARP_SIDE * block for cut in cuts):
        return None
    (y_scale, y), (x_scale, x) = rows
    affine = np.array([[x_scale, 0.0, x], [0.0, y_scale, y]])
    return _Chain(halvings, cuts[0], cuts[1], 'linear', affine)


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


def _plan_cut(axis: Axis, halvings: int, blur: Blur, last_step: str) -> _Cut:
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
    before = max(0, start - blur.radius)
    after = max(end, min(-(-axis.length // block), end + blur.radius))
    stop = min(axis.length, after * block)
    return _Cut(
        slice(before * block, stop), after * block - stop, blur,
        slice(start - before, end - before), high - low,
        slice(first - low, first - low + axis.count))


def _meeting(nearest: int, step: int, scale: float) -> int:
    """Return an output pixel, this or one further on, whose edge is close to a source pixel's."""
    if nearest == 0:
        return 0
    distances = np.arange(_MAX_EXTRA if step > 0 else min(_MAX_EXTRA, nearest) + 1)
    edges = (nearest + step * distances) * scale
    costs = np.abs(edges - np.rint(edges)) + distances / _PIXELS_PER_SHIFT
    return nearest + step * int(costs.argmin())


def _resize_exact(frame: Frame, rule: ResizeRule, out: NDArray[np.uint8]) -> None:
    """Resample by Pillow, first along the rows, then along the columns."""
    vertical, horizontal = plan_crop(rule, *frame.size, frame.reduction)
    windows = [
        axis.window(SUPPORT[rule.interpolation] * max(1.0, axis.scale) + 1)
        for axis in (vertical, horizontal)]
    image = _to_image(np.ascontiguousarray(frame.pixels[windows[0], windows[1]]))
    kind = _FILTERS[rule.interpolation]
    left, top = horizontal.start - windows[1].start, vertical.start - windows[0].start
    right, bottom = horizontal.end - windows[1].start, vertical.end - windows[0].start
    # One axis a call: Pillow 13 chooses the order by the sizes, and a cubic's overshoot is cut
    # off in between, so that the order shows.
    image = image.resize(
        (rule.crop_width, image.height), kind, (left, 0.0, right, float(image.height)))
    image = image.resize(
        (rule.crop_width, rule.crop_height), kind, (0.0, top, float(rule.crop_width), bottom))
    to_rgb(np.asarray(image), frame.order, out)


def _to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return C-contiguous pixels as Pillow's picture, whatever their colour order."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return Image.fromarray(pixels)
    # As RGBA, Pillow would weigh colours by alpha; RGBX are just four channels, and not copied.
    height, width = pixels.shape[:2]
    return Image.frombuffer('RGBX', (width, height), pixels, 'raw', 'RGBX', 0, 1)


@lru_cache(maxsize=16)
def _nearest_pixels(
        rule: ResizeRule, height: int, width: int,
        reduction: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the row and column numbers that Pillow's nearest neighbour takes."""
    numbers = []
    for axis in plan_crop(rule, height, width, reduction):
        first = round(axis.start / axis.scale)
        # Pillow adds the scale again and again; its rounding errors decide ties.
        steps = np.full(first + axis.count, axis.scale)
        steps[0] = 0.5 * axis.scale
        centres = np.cumsum(steps)[first:]
        numbers.append(np.minimum(centres.astype(np.intp), axis.length - 1))
    return numbers[0], numbers[1]


def _check_frame(frame: Frame) -> None:
    """Refuse a frame that is not what its order and its reduction say."""
    shape, channels = frame.pixels.shape, CHANNELS.get(frame.order, 0)
    if shape[2:] != (() if channels == 1 else (channels,)) or frame.pixels.dtype != np.uint8:
        raise FrameError(
            f'{frame.pixels.dtype} pixels of shape {shape} are no {frame.order!r} frame: '
            f'orders are {", ".join(CHANNELS)}, of uint8')
    if not shape[0] or not shape[1]:
        raise FrameError(f'{shape[1]}x{shape[0]} frame: it has no pixels')
    if shape[:2] != tuple(-(-side // frame.reduction) for side in frame.size):
        raise FrameError(
            f'{shape[1]}x{shape[0]} frame: {frame.size[1]}x{frame.size[0]} pixels reduced '
            f'{frame.reduction} times have another size')
