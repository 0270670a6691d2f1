"""Pictures of floating-point values, whose range the encoding does not say."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import FrameError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOAT_ENCODING = '32FC3'
#: What the log or the summary says once.
FLOAT_ASSUMPTION = (
    f'{FLOAT_ENCODING} does not say its range: values from 0 to 1 are assumed, blue first')
#: Share of the values that may lie above 1, such as reflections; they become 255.
_BRIGHT_SHARE = 0.01


def from_floats(values: NDArray[Any]) -> NDArray[np.uint8]:
    """
    Scale values from 0 to 1 to 8 bits: v * 255, rounded.

    :param values: float32 of any shape; what is below 0 and what is not a number becomes 0, what
        is above 1 becomes 255.
    :returns: uint8 of that shape, owned by the caller.
    :raises FrameError: if too many are above 1, as in pictures with values up to 255, which would
        become white.
    """
    above = float(np.mean(values > 1))
    if above > _BRIGHT_SHARE:
        raise FrameError(
            f'{FLOAT_ENCODING} image: {above:.0%} of its values are above 1, up to '
            f'{float(np.nanmax(values)):g}, but they must be from 0 to 1: publish the image as '
            '8UC3, or divide its values by their white')
    # Of a number and a NaN, these return the number.
    scaled = np.fmin(np.fmax(values, np.float32(0)), np.float32(1)) * np.float32(255)
    return np.asarray(scaled + np.float32(0.5), np.uint8)


def has_floats(message: Any) -> bool:
    """Tell whether an image holds floats, of which `FLOAT_ASSUMPTION` is to be said."""
    return str(getattr(message, 'encoding', '')).lower() == FLOAT_ENCODING.lower()
