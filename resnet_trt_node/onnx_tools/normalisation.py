"""How pixels become what a network was trained on: (pixel / scale - mean) / std."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, TYPE_CHECKING

import numpy as np
from resnet_trt_node.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: How grey is made of red, green and blue: the luma of ITU-R BT.601 in 65,536ths, rounded, bit for
#: bit as Pillow's convert('L') and so as torchvision's Grayscale of a PIL picture.
LUMINANCE_WEIGHTS, LUMINANCE_SHIFT = (19595, 38470, 7471), 16
LUMINANCE = '0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as Pillow)'
#: A deviation over its mean: 0.1 to 2 in one unit, for dark pictures (MNIST: 2.4) some more. In
#: two units it is a 255th of that, or 255 times as much.
_LEAST, _MOST = 0.05, 10.0


@dataclass(frozen=True)
class Normalisation:
    """
    (pixel / scale - mean) / std, channel by channel.

    :param mean: three numbers in the network's channel order, in units of pixel / scale; one of
        a grey network, whose pixel is the `luminance`.
    :param std: likewise, positive.
    :param scale: what pixels of 0..255 are divided by first: 255 or 1.
    :param bgr: whether the network's channel order is blue, green, red.
    :raises UsageError: for numbers that no picture can be normalised with.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0
    bgr: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant."""
        if (len(self.mean), len(self.std)) not in ((1, 1), (3, 3)):
            raise UsageError(
                f'mean has {len(self.mean)} numbers and std {len(self.std)}: '
                'give one for all channels, or three; one for a grey network')
        if not all(np.isfinite(value) for value in (*self.mean, *self.std)):
            raise UsageError('mean and std must be finite numbers')
        if any(value <= 0 for value in self.std):
            raise UsageError(f'std is {self.std}: every number must be positive')
        if not self.scale > 0:
            raise UsageError(f'scale is {self.scale}: it must be positive')
        self._refuse_mixed_units()

    def _refuse_mixed_units(self) -> None:
        """Refuse a mean of 0..255 with a deviation of 0..1, or the other way round."""
        for mean, std in zip(self.mean, self.std):
            # A mean of 0 is one in any unit, a deviation of 1 that of networks that only subtract.
            if not mean or std == 1 or _LEAST <= std / abs(mean) <= _MOST:
                continue
            way = (_list('std', [255 * value for value in self.std]) if std < abs(mean) else
                   _list('mean', [255 * value for value in self.mean]))
            raise UsageError(
                f'mean {mean:g} and std {std:g} are of different units, pixels of 0..255 and of '
                f'0..1: write {way}, so that both are in 0..255')
        largest = 255 / self.scale
        if any(abs(mean) > largest for mean in self.mean):
            raise UsageError(
                f'a mean of {max(self.mean, key=abs):g} cannot be one of pixels / {self.scale:g}, '
                f'which end at {largest:g}: write --scale 1, or '
                f'{_list("mean", [value / 255 for value in self.mean])}')

    @property
    def is_grey(self) -> bool:
        """Tell whether the network has one channel."""
        return len(self.mean) == 1

    def describe(self) -> str:
        """Return the formula in words."""
        pixel = 'pixel' if self.scale == 1 else f'pixel / {self.scale:g}'
        mean = ', '.join(f'{value:g}' for value in self.mean)
        std = ', '.join(f'{value:g}' for value in self.std)
        order = f'grey of RGB, {LUMINANCE}' if self.is_grey else 'BGR' if self.bgr else 'RGB'
        if self.scale == 1 and not any(self.mean) and set(self.std) == {1.0}:
            return f'pixels of 0 to 255 as they are, {order}'
        return f'({pixel} - [{mean}]) / [{std}], {order}'

    def convolution(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """
        Return the formula as a 1x1 convolution over RGB, or grey, pixels of 0..255.

        :returns: weight, float64 (3, 1, 1, 1) for RGB, (3, 3, 1, 1) for BGR and (1, 1, 1, 1) for
            grey; bias, float64 (3,) or (1,); and the groups, 3 for RGB and else 1.
        """
        slope = 1.0 / (self.scale * np.asarray(self.std, np.float64))
        bias = -np.asarray(self.mean, np.float64) / np.asarray(self.std, np.float64)
        if self.bgr and not self.is_grey:
            return np.diag(slope)[:, ::-1].reshape(3, 3, 1, 1).copy(), bias, 1
        return slope.reshape(-1, 1, 1, 1), bias, len(slope)

    def apply(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Normalise pictures in NumPy, as the reference for checks.

        :param frames: uint8 (N, H, W, 3), RGB.
        :returns: float32 (N, 3, H, W), or (N, 1, H, W) of a grey network; contiguous, owned by the
            caller.
        """
        pixels = luminance(frames) if self.is_grey else frames[..., ::-1] if self.bgr else frames
        values = (pixels.astype(np.float64) / self.scale - self.mean) / self.std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def pick_normalisation(
        mean: Sequence[float], std: Sequence[float], scale: Optional[float] = None,
        bgr: bool = False, channels: int = 3) -> Normalisation:
    """
    Read mean and std as users write them.

    :param mean: one number for all channels, or three in the network's channel order.
    :param std: likewise.
    :param scale: what the network's training divided pixels of 0..255 by before it took the
        mean: 255 or 1. None decides by the numbers: any above 1 can only be meant for pixels of
        0..255 (scale 1); otherwise they are meant for 0..1 (scale 255).
    :param bgr: whether the network takes blue, green, red.
    :param channels: of the network, 3 or 1.
    :raises UsageError: for numbers that cannot be used, or that fit both readings.
    """
    means, stds = (
        [*values] * channels if len(values) == 1 else [*values] for values in (mean, std))
    if channels == 1 and (len(means) > 1 or len(stds) > 1):
        raise UsageError(
            f'mean has {len(means)} numbers and std {len(stds)}, and the network one channel: '
            'give one number for each')
    if scale is None:
        if not any(means) and all(value == 1 for value in stds):
            raise UsageError(
                'mean 0 and std 1 fit pixels of 0..255 and of 0..1: say which the network '
                'takes with --scale 1 or --scale 255')
        scale = 1.0 if max(abs(value) for value in (*means, *stds, 0.0)) > 1 else 255.0
    return Normalisation(tuple(means), tuple(stds), float(scale), bgr)


def _list(name: str, values: Sequence[float]) -> str:
    return ' '.join([f'--{name}', *(f'{value:.4g}' for value in values)])


def luminance(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """
    Return grey pictures, see `LUMINANCE_WEIGHTS`.

    :param frames: uint8 (N, H, W, 3), RGB.
    :returns: uint8 (N, H, W, 1).
    """
    total = frames.astype(np.int64) @ np.array(LUMINANCE_WEIGHTS)
    half = 1 << LUMINANCE_SHIFT - 1
    return np.asarray((total + half >> LUMINANCE_SHIFT)[..., None], np.uint8)


def pixels_of(channels: int, bgr: bool = False) -> Normalisation:
    """
    Return what leaves pixels of 0 to 255 as they are.

    :param channels: of the network, 3 or 1.
    :param bgr: whether the network takes blue, green, red.
    """
    return Normalisation((0.0,) * channels, (1.0,) * channels, 1.0, bgr)


#: What torchvision's networks were trained with.
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
