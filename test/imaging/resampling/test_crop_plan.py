"""The crop's place in the source, and the pixels around it."""

from __future__ import annotations

import pytest

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.resampling.crop_plan import Axis, plan_crop


def test_the_crop_lies_where_torchvision_puts_it() -> None:
    # 1080 rows become 256, 1920 columns int(256 * 1920 / 1080) = 455; the crop starts at
    # round(115.5) = 116, to the even neighbour.
    vertical, horizontal = plan_crop(ResizeRule(256, 224, 224), 1080, 1920)
    assert vertical.scale == 1080 / 256
    assert vertical.start == 16 * 1080 / 256
    assert horizontal.scale == 1920 / 455
    assert horizontal.start == 116 * 1920 / 455
    # round(114.5) is 114, not 115.
    assert plan_crop(ResizeRule(256, 224, 224), 453, 256)[0].start == 114.0
    assert plan_crop(ResizeRule(None, 224, 224), 480, 640)[1].scale == 640 / 224


@pytest.mark.parametrize(('margin', 'block', 'window'), [
    (0.0, 1, (10, 30)), (0.5, 1, (9, 31)), (12.0, 1, (0, 42)),
    # Whole blocks: more is read behind, then in front.
    (0.0, 16, (10, 42)), (0.0, 32, (10, 42)), (0.0, 40, (5, 45))])
def test_a_window_has_whole_blocks_of_the_pixels_that_there_are(margin, block, window):
    axis = Axis(2.0, 10.0, 10, 45)
    assert axis.window(margin, block) == slice(*window)
