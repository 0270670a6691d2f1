"""Where the model's crop lies in a source picture, and how it is scaled."""

from __future__ import annotations

from dataclasses import dataclass
import math

from resnet_trt_node.contract.spec import ResizeRule


@dataclass(frozen=True)
class Placement:
    """
    The crop along one axis of a resized picture, in whole pixels.

    :param length: source pixels of the whole picture.
    :param resized: what they become, pixels of the whole resized picture.
    :param first: which of these is the crop's first.
    :param count: how many are the crop.
    """

    length: int
    resized: int
    first: int
    count: int

    @property
    def scale(self) -> float:
        """Return source pixels an output pixel, rounded as Pillow does it."""
        return self.length / self.resized

    def window(self, support: float) -> slice:
        """
        Return the source pixels that the crop is made of.

        :param support: source pixels on either side of its middle that an output pixel reads.
        """
        scale = self.scale
        first = int(max(0.0, (self.first + 0.5) * scale - support + 0.5))
        last = int((self.first + self.count - 0.5) * scale + support + 0.5)
        return slice(min(first, self.length - 1), min(last, self.length))


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


def place_crop(rule: ResizeRule, height: int, width: int) -> tuple[Placement, Placement]:
    """
    Place the model's crop in the resized picture, as torchvision's Resize and CenterCrop do.

    :param rule: how a picture becomes the model's input.
    :param height: rows of the source.
    :param width: columns of the source.
    :returns: the vertical and the horizontal axis.
    """
    counts = (rule.crop_height, rule.crop_width)
    resized = counts
    if rule.short_side is not None:
        # The long side is rounded down, so that the two scales differ a little.
        long_side = int(rule.short_side * max(height, width) / min(height, width))
        resized = (
            (long_side, rule.short_side) if width <= height else (rule.short_side, long_side))
    # round() goes to the even neighbour at a half, as torchvision's does.
    vertical, horizontal = (
        Placement(length, new_length, round((new_length - count) / 2.0), count)
        for length, new_length, count in zip((height, width), resized, counts))
    return vertical, horizontal


def plan_crop(
        rule: ResizeRule, height: int, width: int, reduction: int = 1) -> tuple[Axis, Axis]:
    """
    Place the model's crop in a source picture.

    :param rule: how a picture becomes the model's input.
    :param height: rows of the source.
    :param width: columns of the source.
    :param reduction: see `Frame`.
    :returns: the vertical and the horizontal axis, in pixels of the reduced picture.
    """
    vertical, horizontal = (
        Axis(
            placed.scale / reduction, placed.first * placed.scale / reduction, placed.count,
            -(-placed.length // reduction))
        for placed in place_crop(rule, height, width))
    return vertical, horizontal
