"""Panels and contact sheets: what is drawn, where, and that nothing else changes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFont
import pytest

from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.imaging import text as lettering
from resnet_trt_node.imaging.annotate import annotate
from resnet_trt_node.imaging.frame import Frame, to_rgb

GREEN_BAR = (64, 196, 132)
CAT = [Prediction(3, 'Egyptian cat', 0.8), Prediction(1, 'tabby', 0.15)]


def grey(height: int, width: int) -> Frame:
    """Return a grey frame whose pixels must not be written."""
    pixels = np.full((height, width, 3), 120, np.uint8)
    pixels.flags.writeable = False
    return Frame(pixels, 'rgb')


def bar_lengths(picture: np.ndarray) -> list[int]:
    """Return how many pixels of bar colour each bar has, from the top."""
    counts = (picture == GREEN_BAR).all(axis=2).sum(axis=1)
    starts = np.flatnonzero((counts > 0) & (np.roll(counts, 1) == 0))
    return [int(counts[row]) for row in starts]


@pytest.fixture(autouse=True)
def _fresh_caches():
    yield
    lettering.text_mask.cache_clear()
    lettering._fonts.cache_clear()


@pytest.mark.parametrize(
    ('height', 'width'), [(64, 64), (120, 160), (480, 640), (640, 360), (2160, 3840)])
def test_the_panel_stands_low_and_leaves_the_upper_half_alone(height, width):
    frame = grey(height, width)
    picture = annotate(frame, CAT)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    changed = (picture != 120).any(axis=2)
    assert not changed[:height // 2].any()
    assert changed.sum() > 0.02 * height * width


def test_bars_are_proportional_to_the_scores():
    long, short = bar_lengths(annotate(grey(480, 640), CAT))
    assert long / short == pytest.approx(0.8 / 0.15, rel=0.02)


def test_bars_end_where_certainty_and_nothing_do():
    scores = [Prediction(place, 'cat', score) for place, score in enumerate((1.0, 0.5, 0.0))]
    whole, half = bar_lengths(annotate(grey(480, 640), scores))
    assert half == round(whole / 2)


def test_letters_grow_with_the_picture():
    panel = [(annotate(grey(side, side), CAT) != 120).any(axis=(1, 2)).sum()
             for side in (480, 960, 1920)]
    assert panel[1] / panel[0] == pytest.approx(2, rel=0.1)
    assert panel[2] / panel[1] == pytest.approx(2, rel=0.1)


def test_rows_without_space_are_the_least_probable():
    many = [Prediction(i, f'class {i}', 0.5 / (i + 1)) for i in range(50)]
    lengths = bar_lengths(annotate(grey(240, 320), many))
    assert 2 <= len(lengths) < 50
    assert lengths == sorted(lengths, reverse=True)


def test_no_prediction_is_drawn_in_words():
    picture = annotate(grey(240, 320), [])
    assert bar_lengths(picture) == []
    assert (picture[120:] > 180).any()


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (5, 300), (300, 8)])
def test_a_picture_too_small_for_letters_stays_as_it_is(height, width):
    np.testing.assert_array_equal(annotate(grey(height, width), CAT), 120)


@pytest.mark.parametrize(
    'label', ['', 'two\nlines', 'Katze äöü', 'кошка', '猫', '🐈', 'x' * 500, '\x00', 'a\u0301'])
def test_any_label_can_be_drawn(label):
    picture = annotate(grey(240, 320), [Prediction(0, label, 0.5)])
    assert len(bar_lengths(picture)) == 1


def test_a_long_name_ends_in_dots_within_its_room():
    full = lettering.text_mask('x' * 100, 20)
    mask = lettering.fitted_mask('x' * 100, 20, 100)
    assert mask.height == full.height
    assert 60 < mask.width <= 100
    assert lettering.fitted_mask('x', 20, 1).width == 0


@pytest.mark.parametrize(('order', 'pixel'), [
    ('rgb', (10, 20, 30)), ('bgr', (30, 20, 10)), ('rgba', (10, 20, 30, 99)),
    ('bgra', (30, 20, 10, 99))])
def test_colours_keep_their_order(order, pixel):
    pixels = np.full((4, 6, len(pixel)), pixel, np.uint8)
    copy = to_rgb(pixels, order)
    assert copy.shape == (4, 6, 3)
    assert not np.shares_memory(copy, pixels)
    np.testing.assert_array_equal(copy[0, 0], (10, 20, 30))


def test_gray_becomes_three_equal_channels():
    copy = to_rgb(np.arange(6, dtype=np.uint8).reshape(2, 3), 'gray')
    np.testing.assert_array_equal(copy[1, 2], (5, 5, 5))


def test_pillow_before_10_1_draws_with_its_bitmap_font(monkeypatch):
    bitmap = lettering.ImageFont.load_default_imagefont() if hasattr(
        ImageFont, 'load_default_imagefont') else ImageFont.load_default()

    def old_load_default():
        return bitmap

    monkeypatch.setattr(lettering.ImageFont, 'load_default', old_load_default)
    monkeypatch.setattr(lettering, '_SYSTEM_FONTS', ())
    lettering._fonts.cache_clear()
    lettering.text_mask.cache_clear()
    small, large = lettering.text_mask('cat 猫', 10), lettering.text_mask('cat 猫', 44)
    assert large.size == (small.width * 4, small.height * 4)
    assert np.asarray(small).max() == 255
    assert len(bar_lengths(annotate(grey(480, 640), CAT))) == 2


def test_the_drawing_survives_a_trip_through_a_file(tmp_path):
    picture = annotate(grey(240, 320), CAT)
    Image.fromarray(picture).save(tmp_path / 'cat.png')
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'cat.png')), picture)
