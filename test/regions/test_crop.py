"""Crops: the rows of pictures pasted at known places, rotation, and any box at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import math
from typing import Any

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import FrameError, UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import FAST_MEAN_ERROR, FAST_P999_ERROR, Resizer
from resnet_trt_node.regions.crop import PAD_GRAY, PAD_RGB, RegionCropper
from resnet_trt_node.regions.region import Box, Region
from resnet_trt_node.regions.selection import RegionRules, select

RULE = ResizeRule(64, 56, 56)
RULES = {
    'bilinear': RULE, 'bicubic': ResizeRule(64, 56, 56, 'bicubic'),
    'nearest': ResizeRule(64, 56, 56, 'nearest'), 'oblong': ResizeRule(64, 48, 60)}
HEIGHT, WIDTH = 300, 400
#: Of the pasted picture in the frame.
LEFT, TOP = 150, 90


def picture(height: int, width: int) -> np.ndarray:
    """Return an RGB picture of slow waves, another in each channel and direction."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.rint(np.dstack([
        128 + 100 * np.sin(rows / 9), 128 + 100 * np.cos(columns / 11),
        128 + 100 * np.sin((rows + 2 * columns) / 25)])).astype(np.uint8)


def frame_with(pasted: np.ndarray, left: int = LEFT, top: int = TOP) -> np.ndarray:
    """Return an RGB frame of noise with a picture in it."""
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    frame[top:top + pasted.shape[0], left:left + pasted.shape[1]] = pasted
    return frame


def box_of(width: int, height: int, theta: float = 0.0) -> Box:
    """Return the box of a pasted picture of this size."""
    return Box(LEFT + width / 2, TOP + height / 2, width, height, theta)


def cropped(
        frame: Frame, box: Box, rule: ResizeRule = RULE, method: Any = 'fast',
        aspect: str = 'model', margin: float = 0.0) -> np.ndarray:
    """Return the crop, from a batch row whose old content would show."""
    out = np.full((3, rule.crop_height, rule.crop_width, 3), 255, np.uint8)
    RegionCropper(rule, method, aspect, margin).crop(frame, box, out[1])
    assert (out[::2] == 255).all()
    return out[1]


def alone(pixels: np.ndarray, rule: ResizeRule = RULE, method: Any = 'fast') -> np.ndarray:
    """Return a picture of its own, resized by a rule."""
    out = np.empty((rule.crop_height, rule.crop_width, 3), np.uint8)
    Resizer(rule, method, many=True).resize(Frame(np.ascontiguousarray(pixels), 'rgb'), out)
    return out


@pytest.mark.parametrize('method', ['fast', 'exact'])
@pytest.mark.parametrize('name', RULES)
@pytest.mark.parametrize('size', [(20, 20), (33, 81), (70, 70), (150, 40), (201, 199)])
def test_a_pasted_picture_is_cropped_as_if_it_were_alone(
        size: tuple[int, int], name: str, method: Any) -> None:
    pasted, rule = picture(size[1], size[0]), RULES[name]
    frame, box = Frame(frame_with(pasted), 'rgb'), box_of(*size)
    np.testing.assert_array_equal(
        cropped(frame, box, rule, method), alone(pasted, rule, method))
    stretched = ResizeRule(None, rule.crop_height, rule.crop_width, rule.interpolation)
    np.testing.assert_array_equal(
        cropped(frame, box, rule, method, 'stretch'), alone(pasted, stretched, method))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    left=st.integers(0, WIDTH - 9), top=st.integers(0, HEIGHT - 9), width=st.integers(8, 120),
    height=st.integers(8, 120), aspect=st.sampled_from(['model', 'stretch', 'pad']))
def test_the_place_of_a_picture_does_not_matter(
        left: int, top: int, width: int, height: int, aspect: str) -> None:
    width, height = min(width, WIDTH - left), min(height, HEIGHT - top)
    pasted = picture(height, width)
    box = Box(left + width / 2, top + height / 2, width, height)
    whole = Box(width / 2, height / 2, width, height)
    np.testing.assert_array_equal(
        cropped(Frame(frame_with(pasted, left, top), 'rgb'), box, aspect=aspect),
        cropped(Frame(pasted, 'rgb'), whole, aspect=aspect))


@pytest.mark.parametrize('theta', [0.0, 0.5])
@pytest.mark.parametrize('aspect', ['model', 'stretch', 'pad'])
def test_every_channel_order_gives_the_same_row(aspect: str, theta: float) -> None:
    pixels, box = picture(HEIGHT, WIDTH), Box(200, 150, 90, 40, theta)
    expected = cropped(Frame(pixels, 'rgb'), box, aspect=aspect)
    alpha = np.random.default_rng(1).integers(0, 256, pixels.shape[:2], np.uint8)
    for order, other in (
            ('bgr', pixels[..., ::-1].copy()), ('rgba', np.dstack([pixels, alpha])),
            ('bgra', np.dstack([pixels[..., ::-1], alpha]))):
        np.testing.assert_array_equal(cropped(Frame(other, order), box, aspect=aspect), expected)
    grey = cropped(Frame(pixels[..., 1].copy(), 'gray'), box, aspect='stretch')
    np.testing.assert_array_equal(grey, np.repeat(
        cropped(Frame(pixels, 'rgb'), box, aspect='stretch')[..., 1:2], 3, axis=2))


def test_the_margin_is_added_on_each_side() -> None:
    pasted = picture(60, 120)
    frame = Frame(frame_with(pasted), 'rgb')
    np.testing.assert_array_equal(
        cropped(frame, Box(LEFT + 60, TOP + 30, 100, 50), margin=0.1), alone(pasted))
    np.testing.assert_array_equal(
        cropped(frame, Box(LEFT + 60, TOP + 30, 40, 20), margin=1.0), alone(pasted))


@pytest.mark.parametrize(('box', 'rows', 'columns'), [
    (Box(0, 150, 100, 60), (120, 180), (0, 50)), (Box(400, 150, 100, 60), (120, 180), (350, 400)),
    (Box(200, 0, 100, 60), (0, 30), (150, 250)), (Box(200, 300, 100, 60), (270, 300), (150, 250)),
    (Box(0, 0, 1e308, 1e308), (0, 300), (0, 400)), (Box(-90, 150, 200, 10), (145, 155), (0, 10))])
def test_a_box_is_cut_off_at_the_edges(
        box: Box, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    pixels = picture(HEIGHT, WIDTH)
    np.testing.assert_array_equal(
        cropped(Frame(pixels, 'rgb'), box), alone(pixels[slice(*rows), slice(*columns)]))


def test_a_margin_is_cut_off_at_the_edges_too() -> None:
    pixels = picture(HEIGHT, WIDTH)
    np.testing.assert_array_equal(
        cropped(Frame(pixels, 'rgb'), Box(20, 150, 40, 40), margin=1.0),
        alone(pixels[90:210, :80]))


@pytest.mark.parametrize(('center', 'size', 'columns'), [
    (110.5, 20.0, (100, 121)), (110.3, 20.6, (100, 121)), (110.0, 20.018, (100, 120)),
    (110.0, 20.022, (99, 121)), (110.5, 0.3, (110, 111)), (110.0, 0.01, (110, 111))])
def test_parts_of_a_pixel_are_taken_whole(
        center: float, size: float, columns: tuple[int, int]) -> None:
    pixels = picture(HEIGHT, WIDTH)
    np.testing.assert_array_equal(
        cropped(Frame(pixels, 'rgb'), Box(center, 150, size, 40), aspect='stretch'),
        alone(pixels[130:170, slice(*columns)], ResizeRule(None, 56, 56)))


@pytest.mark.parametrize(('size', 'rows', 'columns'), [
    ((100, 50), (14, 42), (0, 56)), ((20, 20), (0, 56), (0, 56)), ((10, 80), (0, 56), (24, 31)),
    ((200, 2), (27, 28), (0, 56))])
def test_padding_surrounds_a_crop_that_fits(
        size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    pasted = picture(size[1], size[0])
    got = cropped(Frame(frame_with(pasted), 'rgb'), box_of(*size), aspect='pad')
    rule = ResizeRule(None, rows[1] - rows[0], columns[1] - columns[0])
    np.testing.assert_array_equal(got[slice(*rows), slice(*columns)], alone(pasted, rule))
    got[slice(*rows), slice(*columns)] = PAD_RGB
    assert (got == PAD_RGB).all()


@pytest.mark.parametrize('quarters', [-1, 1, 2, 3, 4])
def test_a_quarter_turn_is_exact(quarters: int) -> None:
    pasted = picture(60, 100)
    # NumPy turns to the left, a box with rising theta to the right.
    turned = np.rot90(pasted, -quarters)
    frame = Frame(frame_with(turned), 'rgb')
    height, width = turned.shape[:2]
    box = Box(LEFT + width / 2, TOP + height / 2, 100, 60, quarters * math.pi / 2)
    np.testing.assert_array_equal(cropped(frame, box), alone(pasted))


@pytest.mark.parametrize('degrees', [-160, -75, -20, 7, 30, 45, 110, 400])
@pytest.mark.parametrize('method', ['fast', 'exact'])
def test_a_rotated_picture_is_turned_upright(degrees: float, method: Any) -> None:
    # The frame is a smooth function of the place, and so is what the box has to show.
    theta, width, height, x, y = math.radians(degrees), 120, 80, 205.0, 148.0
    cos, sin = math.cos(theta), math.sin(theta)

    def shade(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        across = (columns - x) * cos + (rows - y) * sin
        down = (rows - y) * cos - (columns - x) * sin
        return np.clip(np.dstack(
            [128 + across, 128 + 2 * down, 128 + 60 * np.sin(across / 15)]), 0, 255)

    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    frame = Frame(np.rint(shade(columns, rows)).astype(np.uint8), 'rgb')
    got = cropped(frame, Box(x, y, width, height, theta), ResizeRule(None, 40, 60), method)
    across, down = (np.arange(60) - 29.5) * 2, (np.arange(40) - 19.5) * 2
    wanted = shade(
        x + across[None] * cos - down[:, None] * sin, y + across[None] * sin + down[:, None] * cos)
    assert np.abs(got - wanted).max() <= 3
    assert abs((got - wanted).mean()) < 0.3


def test_theta_goes_from_right_to_down() -> None:
    # A red line from the middle down to the right is along the box's x axis.
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.line(pixels, (200, 150), (270, 220), (255, 0, 0), 9)
    got = cropped(
        Frame(pixels, 'rgb'), Box(200, 150, 160, 160, math.pi / 4), aspect='stretch')[..., 0]
    assert got[28, 40] == 255
    assert got[28, 16] == got[16, 28] == got[40, 28] == 0


def test_a_margin_grows_a_rotated_box_along_its_own_axes() -> None:
    pixels = picture(HEIGHT, WIDTH)
    np.testing.assert_array_equal(
        cropped(Frame(pixels, 'rgb'), Box(200, 150, 100, 40, 0.7), margin=0.25),
        cropped(Frame(pixels, 'rgb'), Box(200, 150, 150, 60, 0.7)))


def test_a_rotation_that_no_pixel_shows_is_none() -> None:
    pixels = picture(HEIGHT, WIDTH)
    np.testing.assert_array_equal(
        cropped(Frame(pixels, 'rgb'), Box(200, 150, 100, 40, 1e-4)),
        alone(pixels[130:170, 150:250]))


def test_rotated_boxes_are_cut_off_around_what_is_inside() -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    got = cropped(
        Frame(pixels, 'rgb'), Box(0, 0, 200, 200, math.pi / 4), aspect='stretch')
    # Inside is a triangle: the image's corner is in the middle of the crop's left edge.
    assert (got[28, 3:] == 200).all()
    assert (got[0, 0] == PAD_RGB).all()
    assert (got[-1, 0] == PAD_RGB).all()
    grey = cropped(
        Frame(pixels[..., 0], 'gray'), Box(0, 0, 200, 200, math.pi / 4), aspect='stretch')
    assert (grey[0, 0] == PAD_GRAY).all()


def test_a_huge_rotated_box_is_the_whole_image() -> None:
    pixels = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    got = cropped(
        Frame(pixels, 'rgb'), Box(0, 0, 1.7e308, 1.7e308, math.pi / 4), aspect='stretch')
    assert (got[28, 28] == 200).all()
    # Of the square around the image a half is outside.
    assert 0.4 < (got == 200).all(axis=2).mean() < 0.55


@pytest.mark.parametrize('theta', [0.0, 0.6])
def test_the_box_of_a_reduced_frame_is_that_in_the_whole_one(theta: float) -> None:
    pixels = picture(HEIGHT, WIDTH)
    frame = Frame(pixels, 'rgb', reduction=2, full_size=(2 * HEIGHT - 1, 2 * WIDTH))
    np.testing.assert_array_equal(
        cropped(frame, Box(400, 300, 160, 100, theta)),
        cropped(Frame(pixels, 'rgb'), Box(200, 150, 80, 50, theta)))


def test_padded_read_only_rows_are_no_obstacle() -> None:
    pixels = picture(HEIGHT, WIDTH)
    padded = np.zeros((HEIGHT, WIDTH + 60, 3), np.uint8)
    padded[:, :WIDTH] = pixels
    padded.flags.writeable = False
    for theta in (0.0, 0.6):
        np.testing.assert_array_equal(
            cropped(Frame(padded[:, :WIDTH], 'rgb'), Box(200, 150, 80, 50, theta)),
            cropped(Frame(pixels, 'rgb'), Box(200, 150, 80, 50, theta)))


@pytest.mark.parametrize('name', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('aspect', ['model', 'stretch', 'pad'])
def test_fast_stays_within_its_bounds_on_photographs(name: str, aspect: str) -> None:
    data = pytest.importorskip('skimage.data', reason='scikit-image, which has photographs')
    rule = ResizeRule(256, 224, 224, name)
    for photograph in (data.astronaut(), data.coffee()):
        pixels = np.asarray(Image.fromarray(photograph).resize((1280, 853)))
        for width, height in (
                (20, 30), (32, 32), (64, 48), (100, 230), (150, 150), (224, 224), (257, 256),
                (262, 300), (300, 240), (400, 400), (500, 90)):
            box = Box(640, 430, width, height)
            exact, fast = (
                cropped(Frame(pixels, 'rgb'), box, rule, method, aspect).astype(int)
                for method in ('exact', 'fast'))
            difference = np.abs(fast - exact)
            assert difference.mean() <= FAST_MEAN_ERROR / 2
            assert np.percentile(difference, 99.9) <= FAST_P999_ERROR


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


def test_threads_share_a_cropper() -> None:
    frame = Frame(picture(HEIGHT, WIDTH), 'rgb')
    cropper = RegionCropper(RULE, 'fast', 'pad', 0.1)
    boxes = [Box(200, 150, 20 + 7 * index, 90, 0.1 * (index % 3)) for index in range(24)]

    def rows(_: int) -> np.ndarray:
        out = np.empty((len(boxes), 56, 56, 3), np.uint8)
        for box, row in zip(boxes, out):
            cropper.crop(frame, box, row)
        return out

    expected = rows(0)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(rows, range(12)):
            np.testing.assert_array_equal(got, expected)
