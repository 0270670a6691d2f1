"""Which frames are fit to calibrate with: pictures, enough of them, and each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from resnet_trt_node.errors import DataError
from resnet_trt_node.onnx_tools.choices import MIN_FRAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Parts of a side whose means are compared with each other: resizing makes neighbouring pixels of
#: noise alike, but hardly such large parts.
_CELLS = 16
#: Correlation of neighbouring parts below which a frame is noise. Photographs, enlarged ones of
#: 32x32 too, have 0.4 and more, independent pixels 0.2 and less; so has a texture without things
#: in it, such as grass from close by.
_MIN_CORRELATION = 0.25
#: Standard deviation in levels below which a frame shows nothing.
_MIN_CONTRAST = 2.0
#: Share of frames that may be noise or empty.
_TOLERATED = 0.1


def distinct_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """
    Return each frame once, in their order: a standing camera may send one picture again and again.

    :param frames: uint8 (N, H, W, 3), returned itself where there are no repetitions.
    """
    places: dict[bytes, int] = {}
    for place, frame in enumerate(frames):
        places.setdefault(frame.tobytes(), place)
    return frames if len(places) == len(frames) else frames[list(places.values())]


def check_frames(frames: NDArray[np.uint8], minimum: int = MIN_FRAMES) -> None:
    """
    Refuse frames that ranges must not be taken from.

    :param frames: uint8 (N, H, W, 3) RGB, as the model will see them.
    :param minimum: N at least.
    :raises DataError: if there are too few, or more than a tenth of them is noise or empty.
    """
    if len(frames) < minimum:
        raise DataError(
            f'{len(frames)} different picture{"s" * (len(frames) != 1)} to calibrate with, '
            f'{minimum} are needed: give more, such as 500 of those the model is for, or lower '
            '--min-pictures')
    noisy = sum(neighbour_correlation(frame) < _MIN_CORRELATION
                for frame in frames if frame.std() >= _MIN_CONTRAST)
    empty = sum(float(frame.std()) < _MIN_CONTRAST for frame in frames)
    for number, what in ((noisy, 'are noise'), (empty, 'show one even colour')):
        if number > _TOLERATED * len(frames):
            raise DataError(
                f'{number} of {len(frames)} pictures to calibrate with {what}: the ranges would '
                'not be those of real pictures; give pictures that the model is for')


def neighbour_correlation(frame: NDArray[np.uint8]) -> float:
    """
    Return the correlation of a frame's parts with their right and lower neighbours.

    :param frame: uint8 (H, W, 3).
    :returns: -1 to 1; 1 for an even frame.
    """
    parts = frame.astype(np.float32).mean(axis=2)
    for axis, length in enumerate(parts.shape):
        starts = np.arange(min(_CELLS, length)) * length // min(_CELLS, length)
        sizes = np.diff([*starts, length])
        parts = np.add.reduceat(parts, starts, axis) / np.expand_dims(sizes, 1 - axis)
    found = []
    for first, second in ((parts[:, :-1], parts[:, 1:]), (parts[:-1], parts[1:])):
        is_even = not first.std() or not second.std()
        found.append(
            1.0 if is_even else float(np.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1]))
    return sum(found) / 2
