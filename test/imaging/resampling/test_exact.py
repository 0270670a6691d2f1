"""The exact method: equal to Pillow's resize of the whole picture and the crop."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from pictures.resized_by_pillow import resized_by_pillow

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import Resizer


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), height=st.integers(1, 400), width=st.integers(1, 400),
       interpolation=st.sampled_from(['bilinear', 'bicubic', 'nearest']))
def test_any_size_and_rule(
        data: st.DataObject, height: int, width: int, interpolation: str) -> None:
    crop = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    short_side = data.draw(st.none() | st.integers(max(crop), 90))
    rule = ResizeRule(short_side, *crop, interpolation)
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    out = np.empty((*crop, 3), np.uint8)
    Resizer(rule, 'exact').resize(Frame(pixels, 'rgb'), out)
    np.testing.assert_array_equal(out, resized_by_pillow(pixels, rule))
