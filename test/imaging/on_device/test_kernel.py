"""The kernel, compiled for the CPU: bit for bit Pillow's resize and crop of the CPU's pixels."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from pictures.resized_by_pillow import resized_by_pillow
import pytest
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.on_device.grid import plan_grid
from resnet_trt_node.imaging.on_device.job import GRID, JOB, SOURCE
from resnet_trt_node.imaging.raw.encodings import RawImage
from stand_ins.kernel_on_cpu import KernelOnCpu, NAMES, raw_image, rgb_of, source_of

RULES = {
    'bilinear': ResizeRule(64, 56, 56), 'bicubic': ResizeRule(64, 50, 61, 'bicubic'),
    'stretch': ResizeRule(None, 40, 44, 'bicubic'), 'nearest': ResizeRule(64, 56, 56, 'nearest')}


def resized(kernel: KernelOnCpu, raw: RawImage, rule: ResizeRule) -> np.ndarray:
    """Return the message resized by the kernel."""
    grid = plan_grid(rule, raw.height, raw.width)
    assert grid is not None
    return kernel([(source_of(raw), grid)], rule.crop_height, rule.crop_width)[0]


def test_the_dtype_is_the_struct(kernel_on_cpu: KernelOnCpu) -> None:
    (axes, _), (planes, _) = GRID.fields['axes'][:2], SOURCE.fields['planes'][:2]
    assert kernel_on_cpu.sizes() == [
        JOB.itemsize, GRID.itemsize, SOURCE.itemsize, axes.base.itemsize, planes.base.itemsize,
        JOB.fields['row'][1], GRID.fields['pad'][1], SOURCE.fields['red_column'][1],
        axes.base.fields['count'][1], planes.base.fields['y_shift'][1]]


@pytest.mark.parametrize('rule', RULES.values(), ids=RULES)
@pytest.mark.parametrize('name', NAMES)
def test_every_encoding(name: str, rule: ResizeRule, kernel_on_cpu: KernelOnCpu) -> None:
    for padding, (height, width) in enumerate([(60, 80), (37, 51), (300, 71), (3, 5), (130, 260)]):
        for big_endian in (False, True):
            raw = raw_image(name, height, width, padding, big_endian, seed=padding)
            np.testing.assert_array_equal(
                resized(kernel_on_cpu, raw, rule), resized_by_pillow(rgb_of(raw), rule))


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic', 'nearest'])
@pytest.mark.parametrize(('name', 'size'), [
    ('bgr8', (1080, 1920)), ('nv12', (1080, 1920)), ('rgb8', (480, 640)), ('rgb8', (640, 480)),
    ('bayer_gbrg8', (1200, 1600)), ('uyvy', (720, 1280)), ('mono8', (2160, 3840))])
def test_sizes_of_cameras(
        name: str, size: tuple[int, int], interpolation: str,
        kernel_on_cpu: KernelOnCpu) -> None:
    rule, raw = ResizeRule(256, 224, 224, interpolation), raw_image(name, *size)
    np.testing.assert_array_equal(
        resized(kernel_on_cpu, raw, rule), resized_by_pillow(rgb_of(raw), rule))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), name=st.sampled_from(NAMES), height=st.integers(3, 150),
       width=st.integers(3, 150), padding=st.integers(0, 5), big_endian=st.booleans(),
       interpolation=st.sampled_from(['bilinear', 'bicubic', 'nearest']))
def test_any_size_and_rule(
        data: st.DataObject, name: str, height: int, width: int, padding: int, big_endian: bool,
        interpolation: str, kernel_on_cpu: KernelOnCpu) -> None:
    crop = data.draw(st.tuples(st.integers(1, 50), st.integers(1, 50)))
    short_side = data.draw(st.none() | st.integers(max(crop), 70))
    rule = ResizeRule(short_side, *crop, interpolation)
    raw = raw_image(name, height, width, padding, big_endian)
    if plan_grid(rule, raw.height, raw.width) is not None:
        np.testing.assert_array_equal(
            resized(kernel_on_cpu, raw, rule), resized_by_pillow(rgb_of(raw), rule))


@pytest.mark.parametrize(('interpolation', 'side'), [('bilinear', 315), ('bicubic', 157)])
def test_as_many_pixels_as_the_kernel_has_room_for(
        interpolation: str, side: int, kernel_on_cpu: KernelOnCpu) -> None:
    rule, raw = ResizeRule(None, 5, 5, interpolation), raw_image('rgb8', side, side)
    np.testing.assert_array_equal(
        resized(kernel_on_cpu, raw, rule), resized_by_pillow(rgb_of(raw), rule))
    assert plan_grid(rule, side + 1, 5) is None
    assert plan_grid(rule, 5, side + 1) is None


def test_one_launch_makes_rows_of_frames_of_any_size_and_encoding(
        kernel_on_cpu: KernelOnCpu) -> None:
    rule, pictures, expected = RULES['bilinear'], [], []
    for index, name in enumerate(NAMES):
        raw = raw_image(name, 40 + 7 * index, 150 - 3 * index)
        pictures.append((source_of(raw), plan_grid(rule, raw.height, raw.width)))
        expected.append(resized_by_pillow(rgb_of(raw), rule))
    np.testing.assert_array_equal(kernel_on_cpu(pictures, 56, 56), expected)


def test_what_lies_around_the_copied_pixels_does_not_matter(kernel_on_cpu: KernelOnCpu) -> None:
    rule = ResizeRule(32, 8, 12, 'bicubic')
    for name in NAMES:
        raw = raw_image(name, 90, 120)
        pictures = [(source_of(raw), plan_grid(rule, 90, 120))]
        np.testing.assert_array_equal(
            kernel_on_cpu(pictures, 8, 12, poison=0), kernel_on_cpu(pictures, 8, 12, poison=255))
