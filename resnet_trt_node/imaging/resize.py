"""From a frame of any size to the model's input: one resize and one centre crop."""

from __future__ import annotations

from typing import get_args, Literal, Optional, TYPE_CHECKING

import numpy as np

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import check_choice, FrameError, UsageError
from resnet_trt_node.imaging.frame import CHANNELS, Frame
from resnet_trt_node.imaging.resampling.chain import plan_chain
from resnet_trt_node.imaging.resampling.exact import resize_filtered, resize_nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How frames are resized, see `Resizer`.
ResizeMethod = Literal['fast', 'exact']

#: 'fast' differs from 'exact' by at most this on the photographs it was tried on, 200 of ImageNet
#: at several sizes, in levels of 0 to 255: mean, and all but a thousandth of the values of a
#: frame. Nine of ten photographs stay within a level and 99 of 100 within 12.
FAST_MEAN_ERROR = 3.0
FAST_P999_ERROR = 18


class Resizer:
    """
    Resizes and crops frames to a model's input by its resize rule.

    Two methods, both of which swap colours last:

    - 'exact' is bit for bit Pillow's resize of the whole picture, first along its rows, and the
      crop, which is what torchvision evaluates with. (Pillow 13 itself begins with the columns
      where the height shrinks by more than twice as many pixels as the width.)
    - 'fast', the default, is a chain of OpenCV's vectorised steps fitted to Pillow's filter (see
      `resampling.blur`). It takes a quarter of the exact method's time for VGA, a seventh for
      1080p, a fifth for enlarging bilinearly and two fifths for enlarging by a cubic. It differs
      within `FAST_MEAN_ERROR` and `FAST_P999_ERROR` on photographs, so that networks name 99 of
      100 pictures alike. Where the chain is not close enough, which its weights tell beforehand,
      it is the exact method: at some ratios from 1.1 to 1.8, unless there are `many` pictures,
      and for a stretch of very long ones.

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
        self._many = many

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
            resize_nearest(frame, rule, out)
            return
        chain = (
            plan_chain(rule, *frame.size, frame.reduction, self._many)
            if self.method == 'fast' else None)
        if chain is None:
            resize_filtered(frame, rule, out)
        else:
            chain.run(frame, out)


def check_row(out: NDArray[np.uint8], rule: ResizeRule) -> None:
    """
    Refuse an array that cannot take a picture resized by a rule.

    :param out: the row of a batch.
    :param rule: by which the picture is resized and cropped.
    :raises UsageError: unless it is a writable uint8 (crop_height, crop_width, 3) whose rows are
        contiguous.
    """
    if (out.shape != (rule.crop_height, rule.crop_width, 3) or out.dtype != np.uint8
            or out.strides[1:] != (3, 1) or not out.flags.writeable):
        raise UsageError(
            f'cannot resize into {out.dtype} {out.shape}: give a writable uint8 '
            f'({rule.crop_height}, {rule.crop_width}, 3) whose rows are contiguous, such as a '
            'row of a batch buffer')


def _check_frame(frame: Frame) -> None:
    """Refuse a frame that is not what its order and its reduction say."""
    shape, channels = frame.pixels.shape, CHANNELS.get(frame.order, 0)
    if shape[2:] != (() if channels == 1 else (channels,)) or frame.pixels.dtype != np.uint8:
        raise FrameError(
            f'{frame.pixels.dtype} pixels of shape {shape} are no {frame.order!r} frame: '
            f'orders are {", ".join(CHANNELS)}, of uint8')
    if not shape[0] or not shape[1]:
        raise FrameError(f'{shape[1]}x{shape[0]} frame: it has no pixels')
    if frame.reduction == 1 and frame.full_size is None:
        return
    if shape[:2] != tuple(-(-side // frame.reduction) for side in frame.size):
        raise FrameError(
            f'{shape[1]}x{shape[0]} frame: {frame.size[1]}x{frame.size[0]} pixels reduced '
            f'{frame.reduction} times have another size')
