"""Regions as the GPU crops them: bit for bit the exact method on the CPU."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.raw.encodings import RawImage
from resnet_trt_node.regions.crop import RegionCropper
from resnet_trt_node.regions.region import Box
from stand_ins.kernel_on_cpu import KernelOnCpu, raw_image, rgb_of, source_of

HEIGHT, WIDTH = 180, 240
RULES = {
    'bilinear': ResizeRule(64, 56, 56), 'bicubic': ResizeRule(64, 48, 60, 'bicubic'),
    'nearest': ResizeRule(64, 56, 56, 'nearest')}
ASPECTS = ('model', 'stretch', 'pad')


def rows_of(
        kernel: KernelOnCpu, raw: RawImage, cropper: RegionCropper, boxes: list[Box],
        rule: ResizeRule) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes' crops by the kernel, in one launch, and by the CPU."""
    pictures: Any = [(source_of(raw), cropper.grid(box, raw.height, raw.width)) for box in boxes]
    assert all(grid for _, grid in pictures)
    expected = np.empty((len(boxes), rule.crop_height, rule.crop_width, 3), np.uint8)
    frame = Frame(rgb_of(raw), 'rgb')
    for box, row in zip(boxes, expected):
        cropper.crop(frame, box, row)
    return kernel(pictures, rule.crop_height, rule.crop_width), expected


@pytest.mark.parametrize('name', ['bgr8', 'bayer_grbg16', 'nv12', 'i420', 'uyvy'])
@pytest.mark.parametrize('aspect', ASPECTS)
@pytest.mark.parametrize('rule', RULES.values(), ids=RULES)
def test_regions_of_every_aspect(
        rule: ResizeRule, aspect: str, name: str, kernel_on_cpu: KernelOnCpu) -> None:
    boxes = [
        Box(120, 90, 100, 60), Box(10.5, 5.25, 40, 30), Box(235, 175, 50, 50), Box(120, 90, 6, 90),
        Box(100.3, 70.6, 21.7, 9.2), Box(120, 90, 1e9, 1e9), Box(0.4, 0.4, 0.5, 0.5),
        Box(120, 90, 30, 20, 1e-4)]
    got, expected = rows_of(
        kernel_on_cpu, raw_image(name, HEIGHT, WIDTH), RegionCropper(rule, 'exact', aspect, 0.1),
        boxes, rule)
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(x=st.floats(0, WIDTH), y=st.floats(0, HEIGHT), width=st.floats(2, 300),
       height=st.floats(2, 300), margin=st.floats(0, 0.5), aspect=st.sampled_from(ASPECTS),
       rule=st.sampled_from(list(RULES.values())))
def test_any_box(
        x: float, y: float, width: float, height: float, margin: float, aspect: str,
        rule: ResizeRule, kernel_on_cpu: KernelOnCpu) -> None:
    cropper = RegionCropper(rule, 'exact', aspect, margin)
    got, expected = rows_of(
        kernel_on_cpu, raw_image('nv12', HEIGHT, WIDTH), cropper, [Box(x, y, width, height)],
        rule)
    np.testing.assert_array_equal(got, expected)


def test_what_the_kernel_cannot_is_left_to_the_cpu() -> None:
    rule = ResizeRule(None, 4, 4)
    cropper = RegionCropper(rule, 'fast', 'stretch', 0.0)
    assert cropper.grid(Box(120, 90, 100, 60, 0.1), HEIGHT, WIDTH) is None
    assert cropper.grid(Box(1000, 50, 256, 10), 100, 2000) is None
    assert cropper.grid(Box(1000, 50, 250, 10), 100, 2000) is not None


@pytest.mark.parametrize('box', [
    Box(float('nan'), 0, 1, 1), Box(5, 5, 0, 1), Box(-50, 90, 20, 20), Box(500, 90, 20, 20, 0.3)])
def test_a_box_that_cannot_be_cropped_is_refused(box: Box) -> None:
    cropper = RegionCropper(RULES['bilinear'], 'exact', 'model', 0.0)
    with pytest.raises(FrameError, match='select the regions that can be cropped'):
        cropper.grid(box, HEIGHT, WIDTH)
