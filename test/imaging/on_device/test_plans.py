"""What of a message goes to the GPU, and what it is told of it."""

from __future__ import annotations

import numpy as np
import pytest
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.on_device.grid import plan_grid
from resnet_trt_node.imaging.on_device.job import JOB
from resnet_trt_node.imaging.on_device.source import plan_source
from stand_ins.kernel_on_cpu import NAMES, raw_image, source_of

RULE = ResizeRule(256, 224, 224)
#: Of a window of rows 4 to 10 and columns 6 to 20: rows and bytes of each plane.
PLANES = {
    'rgb8': [(6, 42)], 'bgra8': [(6, 56)], 'mono8': [(6, 14)], 'rgba16': [(6, 112)],
    'bayer_rggb8': [(8, 16)], 'bayer_gbrg16': [(8, 32)], 'uyvy': [(6, 28)], 'yuyv': [(6, 28)],
    'nv12': [(6, 14), (3, 14)], 'nv24': [(6, 14), (6, 28)], 'i420': [(6, 14), (3, 7), (3, 7)]}


@pytest.mark.parametrize('name', PLANES)
def test_only_what_is_read_is_copied(name: str) -> None:
    planes = source_of(raw_image(name, 20, 40)).planes(slice(4, 10), slice(6, 20))
    assert [plane.shape for plane in planes] == PLANES[name]


@pytest.mark.parametrize('name', NAMES)
def test_planes_are_views_of_the_message(name: str) -> None:
    raw = raw_image(name, 20, 40, 3)
    for plane in source_of(raw).planes(slice(3, 11), slice(5, 21)):
        assert plane.dtype == np.uint8
        assert plane.strides[1] == 1
        assert np.shares_memory(plane, raw.data)
        assert not plane.flags.writeable


@pytest.mark.parametrize('name', ['bayer_rggb8', 'uyvy', 'nv21', 'yv12'])
def test_pixels_that_share_their_colour_are_copied_whole(name: str) -> None:
    source = source_of(raw_image(name, 20, 40))
    inside = source.planes(slice(5, 6), slice(7, 8))
    for whole, first, last in (
            (slice(None), slice(0, 1), slice(0, 1)), (slice(None), slice(19, 20), slice(39, 40))):
        for corner, middle in zip(source.planes(first, last), inside):
            assert corner[whole].shape == middle.shape


def test_a_crop_of_1080p_reads_less_than_half_of_the_frame() -> None:
    grid = plan_grid(RULE, 1080, 1920)
    assert grid is not None
    assert (grid.rows, grid.columns) == (slice(65, 1015), slice(487, 1437))
    assert plan_grid(RULE, 1080, 1920) is grid


def test_floats_are_left_to_the_cpu() -> None:
    assert plan_source(raw_image('32FC3', 4, 6)) is None


@pytest.mark.parametrize('name', NAMES)
def test_addresses_below_the_window_wrap_around(name: str) -> None:
    """The picture's first pixel need not have an address at all."""
    jobs = np.zeros(1, JOB)
    source = source_of(raw_image(name, 20, 40))
    rows, columns = slice(10, 20), slice(20, 40)
    count = len(source.planes(rows, columns))
    source.write(jobs[0], rows, columns, [16] * count, [512] * count)
    planes = jobs[0]['source']['planes']
    assert (planes['pitch'] == 512).all()
    assert (planes['address'] > 2**63).all()
