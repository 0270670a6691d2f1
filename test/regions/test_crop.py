"""Crops of upright boxes: the rows of pictures pasted at known places."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from pictures.cropped_pictures import (
    alone, box_of, cropped, frame_with, HEIGHT, LEFT, picture, RULE, TOP, WIDTH)
from PIL import Image
import pytest

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import FAST_MEAN_ERROR, FAST_P999_ERROR, Resizer
from resnet_trt_node.regions.crop import PAD_RGB, RegionCropper
from resnet_trt_node.regions.region import Box

RULES = {
    'bilinear': RULE, 'bicubic': ResizeRule(64, 56, 56, 'bicubic'),
    'nearest': ResizeRule(64, 56, 56, 'nearest'), 'oblong': ResizeRule(64, 48, 60)}


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


@pytest.mark.parametrize('aspect', ['model', 'stretch', 'pad'])
def test_only_the_crop_is_resized(monkeypatch: pytest.MonkeyPatch, aspect: str) -> None:
    seen: list[tuple[int, ...]] = []
    resize = Resizer.resize

    def watched(self: Resizer, frame: Frame, out: np.ndarray) -> None:
        seen.append(frame.pixels.shape)
        resize(self, frame, out)
    monkeypatch.setattr(Resizer, 'resize', watched)
    cropped(Frame(np.zeros((1080, 1920, 3), np.uint8), 'rgb'), Box(900, 500, 60, 40), RULE,
            'fast', aspect)
    assert seen == [(40, 60, 3)]


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
