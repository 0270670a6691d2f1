"""The blur of the resize: its promises, and that the whole chain's weights are Pillow's."""

from __future__ import annotations

import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.imaging.resampling.blur import (
    count_halvings, filter_weights, fit_blur, LAST_STEPS, MIN_REMAINING_SCALE)

FILTERS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize('scale', [0.6, 1.0, 1.7, 2.5, 4.0])
def test_the_filter_is_that_of_pillow(scale: float, interpolation: str) -> None:
    # Pillow resizes a single lit column; what each output pixel gets of it is its weight.
    count, lit = 20, 17
    length = round(count * scale)
    line = np.zeros((1, length), np.float32)
    line[0, lit % length] = 1.0
    got = np.asarray(Image.fromarray(line).resize((count, 1), FILTERS[interpolation]))[0]
    exact_scale = length / count
    centres = (np.arange(count) + 0.5) * exact_scale
    offsets = np.arange(length)[None, :] + 0.5 - centres[:, None]
    weights = filter_weights(offsets, exact_scale, interpolation)
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, weights[:, lit % length], atol=1e-6)


@pytest.mark.parametrize(('scale', 'expected'), [
    (0.5, 0), (1.0, 0), (3.49, 0), (3.5, 1), (4.22, 1), (6.99, 1), (7.0, 2), (8.44, 2), (30, 4)])
def test_halvings_leave_a_scale_for_the_blur(scale: float, expected: int) -> None:
    assert count_halvings(scale) == expected
    remaining = scale / 2**expected
    assert remaining >= MIN_REMAINING_SCALE or expected == 0
    assert remaining < 2 * MIN_REMAINING_SCALE


@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize('scale', [1.2, 1.875, 2.8125, 4.21875, 8.4375])
def test_taps_are_symmetric_and_keep_brightness(scale: float, interpolation: str) -> None:
    blur = fit_blur(scale, count_halvings(scale), interpolation)
    assert len(blur.taps) == 2 * blur.radius + 1
    np.testing.assert_array_equal(blur.taps, blur.taps[::-1])
    assert blur.taps.sum() == pytest.approx(1.0, abs=1e-12)
    assert not blur.taps.flags.writeable


def test_whole_scales_are_met_exactly() -> None:
    # At an even scale every output pixel lies alike between source pixels; one blur fits all.
    for scale, interpolation in ((2.0, 'bilinear'), (4.0, 'bilinear'), (2.0, 'bicubic')):
        assert fit_blur(scale, count_halvings(scale), interpolation).misfit < 1e-6
    # The triangle over four pixels, (1 3 3 1) / 8, is a blur of (1 2 1) / 4 between two pixels.
    np.testing.assert_allclose(
        fit_blur(2.0, 0, 'bilinear').taps[1:-1], [0.25, 0.5, 0.25], atol=1e-9)


def test_no_shrinking_needs_no_blur() -> None:
    blur = fit_blur(0.8, 0, 'bilinear')
    assert blur.radius == 0
    assert blur.misfit < 1e-12
    assert fit_blur(0.8, 0, 'bicubic').misfit > 0.1
    assert fit_blur(0.8, 0, 'bicubic', 'mixed').radius == 0


@pytest.mark.parametrize('interpolation', FILTERS)
def test_every_scale_has_a_last_step_that_comes_close(interpolation: str) -> None:
    for scale in (0.618, *np.arange(1.01, 12.0, 0.0618)):
        halvings = count_halvings(scale)
        assert min(
            fit_blur(scale, halvings, interpolation, last_step).misfit
            for last_step in LAST_STEPS) < 0.1


def test_a_cubic_is_mixed_with_a_linear_interpolation_to_be_pillows() -> None:
    misfits = [fit_blur(0.618, 0, 'bicubic', last_step).misfit for last_step in LAST_STEPS]
    np.testing.assert_allclose(misfits, [0.13, 0.05, 0.03], atol=0.01)
