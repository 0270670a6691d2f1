"""Any box, frame, row or setting is cropped or refused."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from pictures.cropped_pictures import cropped, HEIGHT, picture, RULE, WIDTH
import pytest

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import FrameError, UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.regions.crop import RegionCropper
from resnet_trt_node.regions.region import Box, Region
from resnet_trt_node.regions.selection import RegionRules, select

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.floats(-600, 600)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    x=FINITE | NEAR, y=FINITE | NEAR, width=FINITE | NEAR, height=FINITE | NEAR,
    theta=st.just(0.0) | FINITE | st.floats(-7, 7), margin=st.sampled_from([0.0, 0.1, 4.0]),
    aspect=st.sampled_from(['model', 'stretch', 'pad']))
def test_any_finite_box_is_unusable_or_fills_the_row(
        x: float, y: float, width: float, height: float, theta: float, margin: float,
        aspect: str) -> None:
    frame, box = Frame(picture(60, 90), 'rgb'), Box(x, y, width, height, theta)
    cropper = RegionCropper(ResizeRule(20, 16, 16), 'fast', aspect, margin)
    rows = np.empty((2, 16, 16, 3), np.uint8)
    rows[0], rows[1] = 0, 255
    outcome = select([Region(box)], RegionRules(min_px=1), 60, 90)[0]
    if outcome is None:
        for row in rows:
            cropper.crop(frame, box, row)
        np.testing.assert_array_equal(rows[0], rows[1])
    else:
        assert outcome in ('empty', 'outside', 'too_small')


@pytest.mark.parametrize(('box', 'words'), [
    (Box(math.nan, 0, 1, 1), 'not finite'), (Box(10, 10, 0, 5), 'empty'),
    (Box(500, 10, 50, 5), 'outside .* 400x300'), (Box(500, 10, 50, 5, 0.5), 'outside')])
def test_boxes_that_cannot_be_cropped_are_refused(box: Box, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        cropped(Frame(picture(HEIGHT, WIDTH), 'rgb'), box)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    width=st.sampled_from([32_755, 32_759, 32_760, 32_761, 32_762, 32_763, 32_766, 32_800]),
    height=st.floats(1, 60), theta=st.floats(-2e-3, 2e-3), turned=st.booleans())
def test_a_box_of_a_very_long_picture_is_too_large_or_fills_the_row(
        width: int, height: float, theta: float, turned: bool) -> None:
    pixels, box = np.zeros((40, 33_000, 3), np.uint8), Box(16_500, 20, width, height, theta)
    if turned:
        pixels = pixels.transpose(1, 0, 2).copy()
        box = Box(20, 16_500, height, width, theta)
    frame, rows = Frame(pixels, 'rgb'), np.empty((2, 16, 16, 3), np.uint8)
    rows[0], rows[1] = 0, 255
    cropper = RegionCropper(ResizeRule(None, 16, 16), 'fast', 'stretch', 0.0)
    if select([Region(box)], RegionRules(min_px=1), *frame.size) == ['too_large']:
        with pytest.raises(FrameError, match='too large'):
            cropper.crop(frame, box, rows[0])
    else:
        for row in rows:
            cropper.crop(frame, box, row)
        np.testing.assert_array_equal(rows[0], rows[1])


@pytest.mark.parametrize('theta', [0.0, 0.5])
@pytest.mark.parametrize('frame', [
    Frame(np.zeros((HEIGHT, WIDTH), np.uint8), 'rgb'),
    Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 'yuv'),
    Frame(np.zeros((HEIGHT, WIDTH, 3), np.float32), 'rgb'),  # type: ignore[arg-type]
    Frame(np.zeros((0, WIDTH, 3), np.uint8), 'rgb')])
def test_a_frame_that_contradicts_itself_is_refused(frame: Frame, theta: float) -> None:
    with pytest.raises(FrameError):
        cropped(frame, Box(200, 150, 80, 50, theta))


@pytest.mark.parametrize('aspect', ['model', 'stretch', 'pad'])
def test_a_row_that_cannot_take_the_result_is_refused(aspect: str) -> None:
    cropper = RegionCropper(RULE, 'fast', aspect, 0.0)
    with pytest.raises(UsageError, match='cannot resize into'):
        cropper.crop(
            Frame(picture(HEIGHT, WIDTH), 'rgb'), Box(200, 150, 80, 50),
            np.empty((60, 60, 3), np.uint8))


@pytest.mark.parametrize(('method', 'aspect', 'margin', 'words'), [
    ('quick', 'model', 0.0, "method 'quick'"), ('fast', 'squash', 0.0, "aspect 'squash'"),
    ('fast', 'model', -1.0, 'margin of -1')])
def test_settings_that_do_not_exist_are_refused(
        method: Any, aspect: str, margin: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RegionCropper(RULE, method, aspect, margin)
