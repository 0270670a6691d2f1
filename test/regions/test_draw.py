"""Regions on pictures: what is drawn for each outcome, where, and that nothing else changes."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.regions import draw
from resnet_trt_node.regions.draw import annotate_regions
from resnet_trt_node.regions.region import Box, Region, RegionAnswer, UNUSABLE

GREEN, BLUE, AMBER, RED, GREY = (
    (64, 196, 132), (120, 180, 255), (244, 190, 66), (255, 120, 110), (176, 180, 188))
SIZES = [(240, 320), (480, 640), (720, 1280), (2160, 3840)]
CAT = RegionAnswer('answered', (Prediction(3, 'Egyptian cat', 0.83),), 7)


def grey(height: int, width: int, reduction: int = 1) -> Frame:
    """Return a grey frame whose pixels must not be written."""
    pixels = np.full((height, width, 3), 100, np.uint8)
    pixels.flags.writeable = False
    return Frame(pixels, 'rgb', reduction, (height * reduction, width * reduction))


def region(x: float, y: float, width: float, height: float, theta: float = 0.0) -> Region:
    return Region(Box(x, y, width, height, theta), '1', 'traffic light')


def drawn(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return where a colour is, (H, W)."""
    return (picture == colour).all(axis=2)


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what is set, the last two excluded."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.fixture
def written(monkeypatch):
    """Return what is written on labels, in their order."""
    words = []
    fitted, plain = draw.fitted_mask, draw.text_mask

    def note_fitted(text, size, width):
        words.append(text)
        return fitted(text, size, width)

    def note_plain(text, size):
        words.append(text)
        return plain(text, size)

    monkeypatch.setattr(draw, 'fitted_mask', note_fitted)
    monkeypatch.setattr(draw, 'text_mask', note_plain)
    return words


@pytest.mark.parametrize(('height', 'width'), SIZES)
def test_a_box_and_its_label_above_it_and_nothing_else(height, width):
    """The edges lie where the box is, the label touches it, all else stays."""
    frame = grey(height, width)
    picture = annotate_regions(
        frame, [region(width / 2, height / 2, width / 2, height / 4)], [CAT])
    assert (picture.shape, picture.dtype) == ((height, width, 3), np.uint8)
    assert picture.flags.writeable
    green = drawn(picture, GREEN)
    edge = height * 3 // 8
    for row in (edge, height * 5 // 8):
        assert green[row - 4:row + 5, width // 4 + 9:width * 3 // 4 - 9].any(axis=0).all()
    for column in (width // 4, width * 3 // 4):
        assert green[edge + 9:height * 5 // 8 - 9, column - 4:column + 5].any(axis=1).all()
    changed = (picture != 100).any(axis=2)
    assert not changed[edge + 9:height * 5 // 8 - 9, width // 4 + 9:width * 3 // 4 - 9].any()
    left, top, right, bottom = extent(changed)
    assert height // 6 < top < edge - 11
    assert abs(left - width // 4) <= 5
    assert abs(right - width * 3 // 4) <= 5
    assert abs(bottom - height * 5 // 8) <= 5


@pytest.mark.parametrize(('answer', 'colour', 'words'), [
    (CAT, GREEN, ['83 %', 'Egyptian cat']),
    (RegionAnswer('cached', CAT.predictions, 10**9), BLUE, ['83 %  1.5 s old', 'Egyptian cat']),
    (RegionAnswer('cached', (Prediction(-1, 'none', 0.2),), 10**9), AMBER,
     ['20 %  1.5 s old', 'none']),
    (RegionAnswer('answered', (Prediction(-1, 'unknown', 0.2),), 7), AMBER,
     ['20 %', 'unknown']),
    (RegionAnswer('answered', (), 7), AMBER, ['no class above the threshold']),
    (RegionAnswer('not_selected'), GREY, ['traffic light']),
    *((RegionAnswer(outcome), RED, [outcome.replace('_', ' ')]) for outcome in UNUSABLE)])
def test_each_outcome_has_its_colour_and_its_words(written, answer, colour, words):
    """What was inferred, what is old and what has no class look different and say so."""
    picture = annotate_regions(
        grey(480, 640), [region(320, 240, 200, 100)], [answer], 2_500_000_000)
    assert list(dict.fromkeys(written)) == words
    for one in (GREEN, BLUE, AMBER, RED, GREY):
        assert drawn(picture, one).any() == (one == colour)


def test_without_a_stamp_no_age_is_told(written):
    """An age needs two stamps."""
    annotate_regions(grey(480, 640), [region(320, 240, 200, 100)],
                     [RegionAnswer('cached', CAT.predictions, 10**9)])
    assert '83 %' in written


def test_only_what_could_not_be_classified_is_dashed():
    """The upper edge of the one has gaps, that of the other has none."""
    rows = {}
    for answer, colour in ((CAT, GREEN), (RegionAnswer('too_small'), RED)):
        picture = annotate_regions(grey(480, 640), [region(320, 240, 200, 100)], [answer])
        rows[colour] = drawn(picture, colour)[286:294, 225:415].any(axis=0)
    assert rows[GREEN].all()
    assert np.diff(rows[RED].astype(int)).tolist().count(1) == draw._DASHES - 1


def test_a_turned_box_is_drawn_turned():
    """By a quarter of a turn width and height change places; by an eighth it is a rhombus."""
    plain, quarter, eighth = (
        drawn(annotate_regions(grey(480, 640), [region(320, 260, *size, theta)],
                               [RegionAnswer('answered', (Prediction(1, '', 0.5),), 7)]), GREEN)
        for size, theta in (((80, 200), 0), ((200, 80), pi / 2), ((141.4, 141.4), pi / 4)))
    np.testing.assert_array_equal(plain, quarter)
    rows = np.arange(480)[eighth.any(axis=1)]
    assert abs(rows[-1] - 360) <= 2
    assert np.abs(np.flatnonzero(eighth[260])[[0, -1]] - (220, 420)).max() <= 3


def test_boxes_are_in_pixels_of_the_picture_that_was_sent():
    """A picture decoded at half its size shows the same box at half its coordinates."""
    whole = annotate_regions(grey(480, 640), [region(320, 240, 200, 100)], [CAT])
    half = annotate_regions(grey(480, 640, 2), [region(640, 480, 400, 200)], [CAT])
    np.testing.assert_array_equal(whole, half)


@pytest.fixture
def places(monkeypatch):
    """Return where labels were written, in their order: left, top, right and bottom."""
    places, write = [], draw._write

    def note(picture, rectangle, *others):
        places.append(rectangle.astype(int).tolist())
        write(picture, rectangle, *others)

    monkeypatch.setattr(draw, '_write', note)
    return places


def check_free(places: list[list[int]], height: int, width: int) -> None:
    """Check that the places lie in the picture and share no pixel."""
    taken = np.zeros((height, width), int)
    for left, top, right, bottom in places:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        taken[top:bottom, left:right] += 1
    assert taken.max() == 1


@pytest.mark.parametrize(('height', 'width'), SIZES)
def test_labels_of_neighbours_hide_no_other(places, height, width):
    """Six small boxes in a row, as of traffic lights: each label has a place of its own."""
    regions = [region(width * (place + 0.5) / 6, height / 2, width / 8, height / 8)
               for place in range(6)]
    annotate_regions(grey(height, width), regions, [CAT] * 6)
    assert len(places) == 6
    check_free(places, height, width)


def test_a_label_without_a_place_is_left_out_and_its_box_is_not(places):
    """200 boxes at one place: as many labels as have room around it, all legible."""
    regions = [region(160, 120, 20 + place / 10, 20) for place in range(200)]
    picture = annotate_regions(grey(240, 320), regions, [CAT] * 200)
    assert drawn(picture, GREEN)[120, 138:152].any()
    assert 10 < len(places) < 30
    check_free(places, 240, 320)


@pytest.mark.parametrize('edge', [(0, 0), (640, 0), (0, 480), (640, 480), (320, 0), (0, 240)])
def test_labels_of_boxes_at_the_edges_are_inside(written, edge):
    """A label is as large there as elsewhere."""
    middle = drawn(annotate_regions(grey(480, 640), [region(320, 240, 60, 60)], [CAT]), GREEN)
    picture = drawn(annotate_regions(grey(480, 640), [region(*edge, 60, 60)], [CAT]), GREEN)
    row = max(range(480), key=lambda row: int(picture[row].sum()))
    assert picture[row].sum() >= 0.9 * middle.sum(axis=1).max()


def test_boxes_outside_are_counted_in_words(written):
    """What cannot be drawn is not kept from the viewer."""
    regions = [region(float('nan'), 1, 1, 1), region(1, 1, float('inf'), 1),
               region(-500, 100, 50, 50), region(100, 100, 0, 0)]
    answers = [RegionAnswer(outcome) for outcome in (
        'not_finite', 'not_finite', 'outside', 'empty')]
    picture = annotate_regions(grey(480, 640), regions, answers)
    assert written == ['2 not finite, 1 outside, 1 empty']
    left, top, _, bottom = extent((picture != 100).any(axis=2))
    assert (left, bottom) == (0, 480)
    assert top > 440


def test_more_boxes_than_can_be_seen_are_counted(written, monkeypatch):
    """Drawing is bounded, whatever a detector sends."""
    monkeypatch.setattr(draw, 'MOST_DRAWN', 2)
    annotate_regions(grey(480, 640), [region(320, 240, 200, 100)] * 5, [CAT] * 5)
    assert written[0] == '3 more'
    assert written.count('Egyptian cat') == 2


@pytest.mark.parametrize('size', [1e4, 1e6, 1e8])
def test_a_box_far_larger_than_the_picture_keeps_its_edges_in_place(size):
    """One edge in the picture, the others beyond what OpenCV can count to."""
    for theta in (0.0, 1e-12):
        picture = annotate_regions(
            grey(480, 640), [region(320 - size / 2, 240, size, size, theta)], [CAT])
        if size == 1e6:
            assert drawn(picture, GREEN)[200:, 316:324].any(axis=1).all()
        assert not (picture[200:, :300] != 100).any()


def test_a_box_as_large_as_the_picture_has_four_edges():
    """They are drawn inside."""
    green = drawn(annotate_regions(grey(480, 640), [region(320, 240, 640, 480)], [CAT]), GREEN)
    assert green[60:, 0].all()
    assert green[60:, 639].all()
    assert green[479].all()


@pytest.mark.parametrize('label', [
    '', 'two\nlines', 'Katze äöü', 'кошка', '猫', '🐈', 'x' * 5000, '\x00', 'a\u0301'])
def test_any_name_can_be_drawn(label):
    """A long one is shortened to a share of the picture."""
    answer = RegionAnswer('answered', (Prediction(0, label, 0.5),), 7)
    changed = (annotate_regions(
        grey(240, 320), [region(160, 120, 50, 50)], [answer]) != 100).any(axis=2)
    left, _, right, _ = extent(changed)
    assert right - left <= 18 * 11 + 5


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (5, 300), (300, 8)])
def test_a_picture_too_small_for_letters_gets_boxes_alone(height, width):
    """Nothing fails where nothing fits."""
    picture = annotate_regions(
        grey(height, width), [region(width / 2, height / 2, width, height)], [CAT])
    assert picture.shape == (height, width, 3)
    assert drawn(picture, GREEN).any()


def test_no_region_leaves_the_picture_as_it_is():
    """Nothing was found, nothing is drawn."""
    np.testing.assert_array_equal(annotate_regions(grey(48, 64), [], []), 100)


@pytest.mark.parametrize('seed', range(20))
def test_any_boxes_can_be_drawn(seed):
    """Random ones, with all that a float can hold, without a warning."""
    generator = np.random.default_rng(seed)
    odd = [0, -1, 1e-300, 1e300, -1e300, 1e9, float('inf'), float('nan'), 2**31]
    values = generator.uniform(-100, 400, (60, 5))
    chosen = generator.random(values.shape) < 0.2
    values[chosen] = generator.choice(odd, int(chosen.sum()))
    regions = [region(*row) for row in values.tolist()]
    answers = [CAT if generator.random() < 0.5 else RegionAnswer(str(generator.choice(UNUSABLE)))
               for _ in regions]
    with np.errstate(divide='raise', over='raise', invalid='raise'):
        picture = annotate_regions(grey(240, 320), regions, answers, 0)
    assert (picture != 100).any()
