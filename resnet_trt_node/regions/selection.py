"""Which regions of a frame are classified, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args, Literal, Optional, Sequence

from resnet_trt_node.errors import check_choice, UsageError
from resnet_trt_node.regions.geometry import why_unusable
from resnet_trt_node.regions.region import Region

#: How a crop is brought to the model's input, see `RegionRules`.
Aspect = Literal['model', 'stretch', 'pad']
#: A box with this on each side has nine times its width and height.
MAX_MARGIN = 4.0


@dataclass(frozen=True)
class RegionRules:
    """
    Which regions are classified, and how they are cropped.

    :param classes: only regions of these classes are; () takes all, those without a class too.
    :param margin: share of the box's width that is added on its left and again on its right, and
        of its height above and below: 0.1 makes a box of 100 x 50 pixels one of 120 x 60.
    :param aspect: 'model' resizes a crop by the model's own rule, 'stretch' stretches it to the
        model's input, 'pad' scales it to fit and fills the rest with grey.
    :param min_px: a region whose part inside the image is narrower or lower is not classified.
        The margin does not count; of a rotated box the upright rectangle around it does.
    :param max_regions: so many regions of a frame are classified, the first that can be.
    :raises UsageError: for values that no frame can follow.
    """

    classes: tuple[str, ...] = ()
    margin: float = 0.0
    aspect: str = 'model'
    min_px: int = 8
    max_regions: int = 1000

    def __post_init__(self) -> None:
        """Refuse values that no frame can follow."""
        check_cropping(self.aspect, self.margin)
        if self.min_px < 1:
            raise UsageError(f'regions of {self.min_px} pixels: require at least 1 (min_px)')
        if self.max_regions < 1:
            raise UsageError(
                f'{self.max_regions} regions of a frame: allow at least 1 (max_regions)')


def check_cropping(aspect: str, margin: float) -> None:
    """
    Refuse an unknown aspect and a margin that no box can have.

    :param aspect: see `RegionRules`.
    :param margin: see there.
    :raises UsageError: for another aspect; for a margin below 0, above `MAX_MARGIN` or NaN.
    """
    check_choice('region aspect', aspect, get_args(Aspect))
    if not 0.0 <= margin <= MAX_MARGIN:
        raise UsageError(
            f'a region margin of {margin}: give a share of the box from 0 to {MAX_MARGIN:g}')


def select(
        regions: Sequence[Region], rules: RegionRules, height: int,
        width: int) -> list[Optional[str]]:
    """
    Decide which regions of a frame are to be inferred.

    :param regions: in the order of the detections; their boxes may have any numbers.
    :param rules: which are wanted.
    :param height: rows of the whole frame.
    :param width: columns of the whole frame.
    :returns: for each region None if it is to be inferred, else its outcome: 'not_selected', or
        one of `UNUSABLE` but 'failed'. A region of another class is 'not_selected' and one after
        max_regions 'too_many', whatever its box is like.
    """
    classes = frozenset(rules.classes)
    outcomes: list[Optional[str]] = []
    left = rules.max_regions
    for region in regions:
        if classes and region.class_id not in classes:
            outcomes.append('not_selected')
        elif not left:
            # Boxes that come too late are not looked at: a frame may have 100,000 of them.
            outcomes.append('too_many')
        else:
            outcome = why_unusable(region.box, rules.min_px, height, width, rules.margin)
            outcomes.append(outcome)
            left -= outcome is None
    return outcomes
