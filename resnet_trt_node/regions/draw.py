"""Drawing the regions of a frame: boxes, and labels that do not hide each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Optional, Sequence, TYPE_CHECKING

import cv2
import numpy as np

from resnet_trt_node.imaging.frame import Frame, to_rgb
from resnet_trt_node.imaging.text import fitted_mask, text_mask
from resnet_trt_node.regions.label_places import LabelPlaces
from resnet_trt_node.regions.region import Box, Region, RegionAnswer, UNUSABLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A picture with more boxes shows nothing; the others are counted in a line of words.
MOST_DRAWN = 1000
_INK = (12, 14, 18)
_SHADOW = (0, 0, 0)
_NOTHING = 'no class above the threshold'
#: Dashes of an edge.
_DASHES = 7
#: Corners further away are drawn as if they were here, in pixels.
_FAR = 1e9


@dataclass(frozen=True)
class _Style:
    """How a kind of answer looks."""

    colour: tuple[int, int, int]
    dashed: bool = False


_ANSWERED = _Style((64, 196, 132))
_CACHED = _Style((120, 180, 255))
_UNKNOWN = _Style((244, 190, 66))
_UNUSABLE = _Style((255, 120, 110), dashed=True)
_NOT_SELECTED = _Style((176, 180, 188))
#: Whose labels get the free places first.
_STYLES = (_ANSWERED, _CACHED, _UNKNOWN, _UNUSABLE, _NOT_SELECTED)


@dataclass(frozen=True)
class _Label:
    """A label: what it belongs to, and its letters as ink, uint8 (height, width)."""

    box: int
    colour: tuple[int, int, int]
    ink: NDArray[np.uint8]


def annotate_regions(
        frame: Frame, regions: Sequence[Region], answers: Sequence[RegionAnswer],
        stamp_ns: Optional[int] = None) -> NDArray[np.uint8]:
    """
    Draw boxes with their best names into a copy of a picture.

    A solid box was inferred in this frame, one of another colour that tells its age in an earlier
    one, or is of no known class. A dashed box could not be classified, its label says why. A grey
    one was not selected; its label is the detector's class. A label finds a place of its own
    inside the picture, near its box, or is left out; a box outside of the picture is counted in
    a line at its lower edge.

    :param frame: the picture, at least 1x1; boxes are in pixels of the picture that was sent.
    :param regions: what was found in it.
    :param answers: one for each region.
    :param stamp_ns: the frame's, in nanoseconds; None leaves the ages out.
    :returns: uint8 (H, W, 3) RGB, owned by the caller.
    """
    picture = to_rgb(frame.pixels, frame.order)
    height, width = picture.shape[:2]
    # Below 11 pixels no letter is legible on every background.
    font = min(max(11, min(height, width) // 45), 48)
    corners = _corners([region.box for region in regions]) / frame.reduction
    visible = _visible(corners, height, width)
    drawn = np.flatnonzero(visible)[:MOST_DRAWN].tolist()
    corners = corners[drawn].clip(-_FAR, _FAR)
    styles = [_style(answers[place]) for place in drawn]
    _draw_boxes(picture, corners, styles, max(2, font // 8))

    limits = (width, height)
    boxes = np.concatenate(
        (corners.min(axis=1).clip(0, limits), corners.max(axis=1).clip(0, limits)), axis=1)
    places = LabelPlaces(height, width, boxes)
    hidden = Counter(answers[place].outcome for place in np.flatnonzero(~visible).tolist())
    hidden['more'] = int(visible.sum()) - len(drawn)
    _write_hidden(picture, places, hidden, font)
    labels: list[tuple[NDArray[np.float64], _Label]] = []
    # The smallest first: a large box has more places for its label.
    sizes = boxes[:, 2:] - boxes[:, :2]
    for box in sorted(
            range(len(drawn)), key=lambda box: (_STYLES.index(styles[box]), sizes[box].prod())):
        words = _words(regions[drawn[box]], answers[drawn[box]], stamp_ns)
        ink = _ink(*words, font, min(width, max(18 * font, int(sizes[box, 0]))))
        rectangle = None if ink is None else places.find(box, *ink.shape)
        if ink is not None and rectangle is not None:
            places.take(rectangle)
            labels.append((rectangle, _Label(box, styles[box].colour, ink)))
    _write_labels(picture, places, labels, max(1, font // 16))
    return picture


def _visible(corners: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Return which boxes, given by their corners, have a part in the picture, (boxes,)."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    finite = np.isfinite(corners).all(axis=(1, 2))
    return np.asarray(
        finite & (high > low).any(axis=1) & (high >= 0).all(axis=1)
        & (low < (width, height)).all(axis=1))


def _corners(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return (boxes, 4, 2): the corners in x and y, in order around each box."""
    values = np.array([
        (box.center_x, box.center_y, box.width, box.height, box.theta) for box in boxes],
        np.float64).reshape(-1, 5)
    with np.errstate(invalid='ignore', over='ignore'):  # what is not finite is not drawn
        cosine, sine = np.cos(values[:, 4]), np.sin(values[:, 4])
        half = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])[None] * values[:, None, 2:4] / 2
        turned = np.stack((
            half[..., 0] * cosine[:, None] - half[..., 1] * sine[:, None],
            half[..., 0] * sine[:, None] + half[..., 1] * cosine[:, None]), axis=2)
        return np.asarray(turned + values[:, None, :2])


def _style(answer: RegionAnswer) -> _Style:
    if answer.outcome in UNUSABLE:
        return _UNUSABLE
    if answer.outcome == 'not_selected':
        return _NOT_SELECTED
    if not answer.predictions or answer.predictions[0].index < 0:
        return _UNKNOWN
    return _CACHED if answer.outcome == 'cached' else _ANSWERED


def _words(
        region: Region, answer: RegionAnswer, stamp_ns: Optional[int]) -> tuple[str, str]:
    """Return a label's text, which may be shortened, and what stands behind it."""
    if answer.outcome in UNUSABLE:
        return answer.outcome.replace('_', ' '), ''
    if answer.outcome == 'not_selected':
        return region.class_id, ''
    tail = []
    if answer.predictions:
        tail.append(f'{answer.predictions[0].score * 100:.0f} %')
    inferred_ns = answer.inferred_stamp_ns
    if answer.outcome == 'cached' and stamp_ns is not None and inferred_ns is not None:
        tail.append(f'{(stamp_ns - inferred_ns) / 1e9:.1f} s old')
    name = answer.predictions[0].label if answer.predictions else _NOTHING
    return name, '  '.join(tail)


def _ink(name: str, tail: str, font: int, room: int) -> Optional[NDArray[np.uint8]]:
    """Return a label's letters with a margin around; None where not even one letter fits."""
    margin = max(2, font // 4)
    room -= 2 * margin
    parts = []
    if tail and text_mask(tail, font).width * 2 < room:
        # On a narrow picture the name matters more.
        parts.append(np.asarray(text_mask(tail, font)))
        room -= parts[0].shape[1] + 2 * margin
    name_mask = np.asarray(fitted_mask(name, font, room))
    if name_mask.shape[1]:
        parts.insert(0, name_mask)
    if not parts:
        return None
    width = sum(part.shape[1] for part in parts) + 2 * margin * len(parts)
    ink = np.zeros((max(part.shape[0] for part in parts) + 2, width), np.uint8)
    left = margin
    for part in parts:
        ink[1:1 + part.shape[0], left:left + part.shape[1]] = part
        left += part.shape[1] + 2 * margin
    return ink


def _draw_boxes(
        picture: NDArray[np.uint8], corners: NDArray[np.float64], styles: Sequence[_Style],
        thickness: int) -> None:
    """Draw the edges, each over a darker one, so that they show on any background."""
    for style in reversed(_STYLES):
        # In pixels' centres, which is what OpenCV counts in.
        of_style = corners[[one is style for one in styles]] - 0.5
        starts, ends = of_style.reshape(-1, 2), np.roll(of_style, -1, axis=1).reshape(-1, 2)
        if style.dashed:
            steps = np.arange(_DASHES)[:, None, None] / (_DASHES - 0.5)
            along = ends - starts
            starts, ends = starts + steps * along, starts + (steps + 0.5 / (_DASHES - 0.5)) * along
        lines = _clipped(starts.reshape(-1, 2), ends.reshape(-1, 2), picture.shape)
        cv2.polylines(picture, lines, False, _SHADOW, thickness + 2)
        cv2.polylines(picture, lines, False, style.colour, thickness)


def _clipped(
        starts: NDArray[np.float64], ends: NDArray[np.float64],
        shape: tuple[int, ...]) -> list[NDArray[np.int32]]:
    """
    Cut lines to their parts in the picture: OpenCV's coordinates are limited.

    :param starts: (lines, 2), x and y.
    :param ends: likewise.
    :param shape: the picture's.
    :returns: the lines that have such a part, (2, 2) each: whole pixels.
    """
    along = ends - starts
    first, last = np.zeros(len(starts)), np.ones(len(starts))
    with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
        for axis, length in ((0, shape[1]), (1, shape[0])):
            # Along the line, 0 to 1: where it crosses the two edges of this axis.
            crossings = np.stack((
                -0.5 - starts[:, axis], length - 0.5 - starts[:, axis])) / along[:, axis]
            parallel = along[:, axis] == 0
            outside = (starts[:, axis] < -0.5) | (starts[:, axis] > length - 0.5)
            first = np.where(parallel, np.where(outside, 2, first),
                             np.maximum(first, crossings.min(axis=0)))
            last = np.where(parallel, last, np.minimum(last, crossings.max(axis=0)))
        kept = first < last
        lines = np.stack((starts + first[:, None] * along, starts + last[:, None] * along), axis=1)
    limits = (shape[1] - 1, shape[0] - 1)
    return list(np.rint(lines[kept]).clip(0, limits).astype(np.int32))


def _write_hidden(
        picture: NDArray[np.uint8], places: LabelPlaces, hidden: Counter[str], font: int) -> None:
    """Write how many regions are not in the picture, by outcome."""
    words = ', '.join(
        f"{count} {outcome.replace('_', ' ')}" for outcome, count in hidden.items() if count)
    ink = _ink(words, '', font, picture.shape[1]) if words else None
    if ink is not None and ink.shape[0] <= picture.shape[0]:
        height, width = ink.shape
        bottom = picture.shape[0]
        rectangle = np.array((0, bottom - height, width, bottom), np.float64)
        places.take(rectangle)
        _write(picture, rectangle, ink, _UNUSABLE.colour)


def _write_labels(
        picture: NDArray[np.uint8], places: LabelPlaces,
        labels: Sequence[tuple[NDArray[np.float64], _Label]], thickness: int) -> None:
    # All lines first, so that none crosses a label.
    for rectangle, label in labels:
        line = places.leader(label.box, rectangle)
        if line is not None:
            cv2.polylines(picture, [line], False, label.colour, thickness)
    for rectangle, label in labels:
        _write(picture, rectangle, label.ink, label.colour)


def _write(
        picture: NDArray[np.uint8], rectangle: NDArray[np.float64], ink: NDArray[np.uint8],
        colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = rectangle.astype(int)
    picture[top:bottom, left:right] = _shades(colour)[ink]


@lru_cache(maxsize=len(_STYLES))
def _shades(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a label's colour for each share of ink in a pixel, (256, 3)."""
    share = np.arange(256)[:, None] / 255
    return np.rint(np.array(colour) * (1 - share) + np.array(_INK) * share).astype(np.uint8)
