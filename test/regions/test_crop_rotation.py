"""Crops of rotated boxes: turned upright, and cut off around what is inside."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from pictures.cropped_pictures import alone, cropped, frame_with, HEIGHT, LEFT, picture, TOP, WIDTH
import pytest

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.regions.crop import PAD_GRAY, PAD_RGB
from resnet_trt_node.regions.region import Box


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
