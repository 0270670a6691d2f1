"""Which regions are inferred: each outcome, and any numbers."""

from __future__ import annotations

import math
from typing import Any, Optional

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from resnet_trt_node.errors import UsageError
from resnet_trt_node.regions import selection
from resnet_trt_node.regions.region import Box, Region, UNUSABLE
from resnet_trt_node.regions.selection import RegionRules, select

HEIGHT, WIDTH = 100, 200
HUGE = 1.7e308


def outcome(box: Box, **rules: Any) -> Optional[str]:
    """Return the outcome of a single region."""
    return select([Region(box)], RegionRules(**rules), HEIGHT, WIDTH)[0]


@pytest.mark.parametrize(('box', 'expected'), [
    (Box(100, 50, 40, 20), None),
    (Box(math.nan, 50, 40, 20), 'not_finite'), (Box(100, math.inf, 40, 20), 'not_finite'),
    (Box(100, 50, -math.inf, 20), 'not_finite'), (Box(100, 50, 40, math.nan), 'not_finite'),
    (Box(100, 50, 40, 20, math.inf), 'not_finite'),
    (Box(100, 50, 0, 20), 'empty'), (Box(100, 50, 40, -20), 'empty'), (Box(0, 0, 0, 0), 'empty'),
    (Box(220, 50, 40, 20), 'outside'), (Box(219, 50, 40, 20), 'too_small'),
    (Box(-20, 50, 40, 20), 'outside'), (Box(100, 110, 40, 20), 'outside'),
    (Box(100, -10, 40, 20), 'outside'),
    (Box(100, 50, 8, 8), None), (Box(100.3, 50.1, 8, 8), None),
    (Box(100, 50, 7.9, 20), 'too_small'), (Box(100, 50, 40, 7.9), 'too_small'),
    (Box(196, 50, 40, 20), None), (Box(213, 50, 40, 20), 'too_small'),
    (Box(100, 106, 40, 20), 'too_small'), (Box(100, 101, 40, 20), None)])
def test_each_box_has_its_outcome(box: Box, expected: Optional[str]) -> None:
    assert outcome(box) == expected


@pytest.mark.parametrize(('box', 'expected'), [
    # 2 pixels wide, but the rectangle around it is 15.6 pixels wide.
    (Box(100, 50, 2, 20, math.pi / 4), None), (Box(100, 50, 2, 20, 0.0), 'too_small'),
    (Box(100, 50, 2, 20, math.pi / 2), 'too_small'),
    # From the image's corner, down to the left or to the right.
    (Box(-20, -20, 70, 10, -math.pi / 4), 'outside'), (Box(-20, -20, 70, 10), 'outside'),
    (Box(-20, -20, 50, 10, math.pi / 4), 'outside'), (Box(-20, -20, 122, 10, math.pi / 4), None),
    (Box(-20, -20, 66, 10, math.pi / 4), 'too_small'),
    (Box(100, 50, 20, 20, 100.0), None), (Box(100, 50, 20, 20, 1e308), None)])
def test_rotated_boxes_count_by_the_rectangle_around_them(
        box: Box, expected: Optional[str]) -> None:
    assert outcome(box) == expected


@pytest.mark.parametrize(('box', 'expected'), [
    (Box(0, 0, HUGE, HUGE), None), (Box(HUGE, HUGE, HUGE, HUGE), 'outside'),
    (Box(-HUGE, 0, HUGE, HUGE), 'outside'), (Box(-HUGE / 2.1, 0, HUGE, 40), None),
    (Box(0, 0, HUGE, HUGE, 0.3), None), (Box(HUGE, -HUGE, HUGE, HUGE, 0.3), 'outside'),
    (Box(HUGE / 4, HUGE / 4, HUGE, HUGE, 0.8), None),
    (Box(HUGE / 2, HUGE / 2, HUGE, HUGE, 0.8), 'outside'),
    # It is lost beside its centre.
    (Box(100, 50, 5e-324, 5e-324), 'outside')])
def test_huge_numbers_are_numbers(box: Box, expected: Optional[str]) -> None:
    assert outcome(box) == expected


@pytest.mark.parametrize(('box', 'size', 'margin', 'expected'), [
    # OpenCV turns what has no more than 32,766 pixels a side: here two more than the box covers.
    (Box(20_000, 50, 32_700, 20, 1e-3), (100, 40_000), 0.0, None),
    (Box(20_000, 50, 32_780, 20, 1e-3), (100, 40_000), 0.0, 'too_large'),
    (Box(20_000, 50, 20, 32_780, math.pi / 2), (100, 40_000), 0.0, 'too_large'),
    (Box(50, 20_000, 20, 32_780, 1e-3), (40_000, 100), 0.0, 'too_large'),
    (Box(20_000, 50, 39_000, 20, math.pi), (100, 40_000), 0.0, 'too_large'),
    # The margin counts, and what lies outside the image does not.
    (Box(20_000, 50, 20_000, 20, 1e-3), (100, 40_000), 0.0, None),
    (Box(20_000, 50, 20_000, 20, 1e-3), (100, 40_000), 0.4, 'too_large'),
    (Box(0, 50, 60_000, 20, 1e-3), (100, 40_000), 0.0, None),
    # Longer than the sides of the image.
    (Box(12_000, 12_000, 33_900, 20, math.pi / 4), (24_000, 24_000), 0.0, 'too_large'),
    (Box(12_000, 12_000, 32_000, 20, math.pi / 4), (24_000, 24_000), 0.0, None),
    # Upright ones are cut out as they are, and so are those as good as upright.
    (Box(20_000, 50, 40_000, 20), (100, 40_000), 0.0, None),
    (Box(20_000, 50, 40_000, 20, 1e-6), (100, 40_000), 0.0, None)])
def test_a_rotated_box_that_cannot_be_turned_is_too_large(
        box: Box, size: tuple[int, int], margin: float, expected: Optional[str]) -> None:
    assert select([Region(box)], RegionRules(margin=margin), *size) == [expected]


def test_the_least_size_is_chosen() -> None:
    assert outcome(Box(100, 50, 40, 20), min_px=20) is None
    assert outcome(Box(100, 50, 40, 20), min_px=21) == 'too_small'
    assert outcome(Box(100, 50, 1, 1), min_px=1) is None


def test_the_margin_does_not_help_a_box_that_is_too_small() -> None:
    assert outcome(Box(100, 50, 7, 7), margin=1.0) == 'too_small'
    assert outcome(Box(-20, 50, 40, 20), margin=1.0) == 'outside'


def test_classes_are_selected_before_anything_else() -> None:
    boxes = {'car': Box(50, 50, 20, 20), 'sign': Box(math.nan, 0, 0, 0), '': Box(50, 50, 20, 20)}
    regions = [Region(box, class_id=class_id) for class_id, box in boxes.items()]
    assert select(regions, RegionRules(classes=('car', 'bus')), HEIGHT, WIDTH) == [
        None, 'not_selected', 'not_selected']
    assert select(regions, RegionRules(classes=('sign',)), HEIGHT, WIDTH) == [
        'not_selected', 'not_finite', 'not_selected']
    assert select(regions, RegionRules(), HEIGHT, WIDTH) == [None, 'not_finite', None]


def test_those_after_the_most_are_too_many() -> None:
    good, bad = Region(Box(50, 50, 20, 20), class_id='a'), Region(Box(50, 50, 0, 0), class_id='a')
    other = Region(Box(50, 50, 20, 20), class_id='b')
    rules = RegionRules(classes=('a',), max_regions=2)
    assert select([bad, good, other, bad, good, bad, good, other], rules, HEIGHT, WIDTH) == [
        'empty', None, 'not_selected', 'empty', None, 'too_many', 'too_many', 'not_selected']


def test_boxes_after_the_most_are_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def why_unusable(box: Box, *_: int) -> Optional[str]:
        looked_at.append(box)
        return None

    monkeypatch.setattr(selection, 'why_unusable', why_unusable)
    regions = [Region(Box(50, 50, 20, 20))] * 100_000
    outcomes = select(regions, RegionRules(), HEIGHT, WIDTH)
    assert outcomes == [None] * 1000 + ['too_many'] * 99_000
    assert len(looked_at) == 1000


def test_no_regions_have_no_outcomes() -> None:
    assert select([], RegionRules(), HEIGHT, WIDTH) == []


@pytest.mark.parametrize(('rules', 'words'), [
    ({'margin': -0.1}, 'margin of -0.1'), ({'margin': math.nan}, 'margin of nan'),
    ({'margin': 4.1}, 'from 0 to 4'), ({'aspect': 'squash'}, "aspect 'squash'"),
    ({'min_px': 0}, 'min_px'), ({'max_regions': 0}, 'max_regions')])
def test_rules_that_no_frame_can_follow_are_refused(rules: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RegionRules(**rules)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(numbers=st.tuples(*[st.floats()] * 5))
def test_any_numbers_have_an_outcome(numbers: tuple[float, ...]) -> None:
    result = outcome(Box(*numbers))
    assert result is None or result in UNUSABLE
    assert (result == 'not_finite') == (not all(map(math.isfinite, numbers)))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    x=st.floats(-150, 350), y=st.floats(-150, 250), width=st.floats(1, 200),
    height=st.floats(1, 200), theta=st.floats(-7, 7))
def test_outside_is_where_no_point_of_the_box_is_inside(
        x: float, y: float, width: float, height: float, theta: float) -> None:
    cos, sin = math.cos(theta), math.sin(theta)
    steps = [(step + 0.5) / 40 - 0.5 for step in range(40)]
    inside = 0
    for across in steps:
        for down in steps:
            column = x + across * width * cos - down * height * sin
            row = y + across * width * sin + down * height * cos
            inside += 0 < column < WIDTH and 0 < row < HEIGHT
    result = outcome(Box(x, y, width, height, theta), min_px=1)
    if result == 'outside':
        assert inside == 0
    if inside == 0:
        # The points are up to 5 pixels apart, so that they may miss a corner.
        grown = outcome(Box(x, y, width - 10, height - 10, theta), min_px=1)
        assert grown in ('outside', 'empty', 'too_small')
