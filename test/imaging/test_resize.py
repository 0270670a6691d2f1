"""Fitting frames: against Pillow's resize and torchvision's crop, on real and made pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from pictures.resized_by_pillow import resized_by_pillow
from PIL import Image
import pytest

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import FrameError, UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import Resizer

#: Width and height: smaller than the crop, cameras' sizes, upright, odd, and a few ratios near 1.
SIZES = [
    (97, 64), (320, 240), (300, 400), (450, 360), (640, 480), (480, 640), (641, 479),
    (1280, 720), (1920, 1080), pytest.param((1080, 1920), marks=pytest.mark.slow),
    pytest.param((3840, 2160), marks=pytest.mark.slow)]
RULES = {
    'bilinear': ResizeRule(256, 224, 224), 'bicubic': ResizeRule(256, 224, 224, 'bicubic'),
    'whole': ResizeRule(224, 224, 224), 'oblong': ResizeRule(160, 96, 128),
    'stretch': ResizeRule(None, 224, 224), 'nearest': ResizeRule(256, 224, 224, 'nearest')}


def resized(frame: Frame, rule: ResizeRule, method: Any) -> np.ndarray:
    """Return the resized frame, from a batch row whose old content would show."""
    out = np.full((3, rule.crop_height, rule.crop_width, 3), 255, np.uint8)
    Resizer(rule, method).resize(frame, out[1])
    assert (out[::2] == 255).all()
    return out[1]


def made_picture(height: int, width: int) -> np.ndarray:
    """Return an RGB picture with edges, a zone plate of all frequencies, and noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    plate = 127 + 100 * np.cos(((x / width) ** 2 + (y / height) ** 2) * width / 2)
    bars = np.where((x // 37 + y // 23) % 2 == 0, 40.0, 210.0)
    noise = np.random.default_rng(0).normal(120, 20, (height, width))
    return np.clip(np.stack([plate, bars, noise], axis=2), 0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def photographs() -> list[np.ndarray]:
    """Return real photographs, RGB."""
    data = pytest.importorskip('skimage.data', reason='scikit-image, which has photographs')
    return [np.ascontiguousarray(data.astronaut()), np.ascontiguousarray(data.coffee())]


def sized(photograph: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a photograph at a camera's size, with a camera's noise."""
    pixels = np.asarray(
        Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(1).integers(-6, 7, (height, width, 1))
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize('name', RULES)
@pytest.mark.parametrize('size', SIZES[:9], ids='{0[0]}x{0[1]}'.format)
def test_exact_is_pillow(name: str, size: tuple[int, int]) -> None:
    picture = made_picture(size[1], size[0])
    got = resized(Frame(picture, 'rgb'), RULES[name], 'exact')
    np.testing.assert_array_equal(got, resized_by_pillow(picture, RULES[name]))


@pytest.mark.parametrize('name', ['bilinear', 'bicubic', 'whole', 'stretch'])
@pytest.mark.parametrize('size', SIZES, ids='{0[0]}x{0[1]}'.format)
def test_fast_stays_close_on_usual_photographs(
        name: str, size: tuple[int, int], photographs: list[np.ndarray]) -> None:
    for photograph in photographs:
        picture = sized(photograph, *size)
        got = resized(Frame(picture, 'rgb'), RULES[name], 'fast').astype(int)
        difference = np.abs(got - resized_by_pillow(picture, RULES[name]))
        assert difference.mean() <= 1.0
        assert np.percentile(difference, 99.9) <= 12


@pytest.mark.parametrize('size', SIZES, ids='{0[0]}x{0[1]}'.format)
def test_fast_does_not_shift_the_picture_or_its_brightness(
        size: tuple[int, int], photographs: list[np.ndarray]) -> None:
    picture = sized(photographs[0], *size)
    wanted = resized_by_pillow(picture, RULES['bilinear']).astype(float)
    signed = resized(Frame(picture, 'rgb'), RULES['bilinear'], 'fast') - wanted
    # Enlarging, OpenCV cuts off instead of rounding.
    assert abs(signed.mean()) < (0.1 if min(size) > 256 else 0.25)
    # A shift by d pixels adds d times the slope; this is d's least-squares estimate.
    for slope in np.gradient(wanted, axis=(0, 1)):
        assert abs((signed * slope).sum() / (slope * slope).sum()) < 0.02


@pytest.mark.parametrize('method', ['fast', 'exact'])
@pytest.mark.parametrize('name', ['bilinear', 'bicubic', 'nearest'])
@pytest.mark.parametrize('size', [
    (320, 240), (640, 480), pytest.param((1920, 1080), marks=pytest.mark.slow)])
def test_every_channel_order_gives_the_same_rgb(
        size: tuple[int, int], name: str, method: Any) -> None:
    rule, picture = RULES[name], made_picture(size[1], size[0])
    expected = resized(Frame(picture, 'rgb'), rule, method)
    alpha = np.random.default_rng(2).integers(0, 256, picture.shape[:2], np.uint8)
    for order, pixels in (
            ('bgr', picture[..., ::-1].copy()), ('rgba', np.dstack([picture, alpha])),
            ('bgra', np.dstack([picture[..., ::-1], alpha]))):
        np.testing.assert_array_equal(resized(Frame(pixels, order), rule, method), expected)
    grey = resized(Frame(picture[..., 1].copy(), 'gray'), rule, method)
    np.testing.assert_array_equal(grey, np.repeat(expected[..., 1:2], 3, axis=2))


@pytest.mark.parametrize('method', ['fast', 'exact'])
@pytest.mark.parametrize('name', RULES)
def test_padded_read_only_rows_are_no_obstacle(name: str, method: Any) -> None:
    picture = made_picture(480, 640)
    padded = np.zeros((480, 700, 3), np.uint8)
    padded[:, :640] = picture
    padded.flags.writeable = False
    np.testing.assert_array_equal(
        resized(Frame(padded[:, :640], 'rgb'), RULES[name], method),
        resized(Frame(picture, 'rgb'), RULES[name], method))


def test_jpegs_may_be_decoded_at_twice_the_short_side() -> None:
    assert Resizer(ResizeRule(256, 224, 224)).decode_side == 512
    assert Resizer(ResizeRule(None, 192, 224)).decode_side == 448
    assert Resizer(ResizeRule(256, 224, 224), 'exact').decode_side is None
    assert Resizer(ResizeRule(256, 224, 224, 'nearest')).decode_side is None


@pytest.mark.parametrize('name', RULES)
@pytest.mark.parametrize('method', ['fast', 'exact'])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_any_size_of_one_colour_stays_that_colour(
        name: str, method: Any, height: int, width: int) -> None:
    colour = (250, 3, 120)
    picture = np.broadcast_to(np.array(colour, np.uint8), (height, width, 3))
    got = resized(Frame(picture, 'rgb'), RULES[name], method).astype(int)
    assert np.abs(got - colour).max() <= 1


@pytest.mark.parametrize('method', ['fast', 'exact'])
@pytest.mark.parametrize('size', [(1, 3000), (3000, 1), (2, 2), (1, 1), (40_000, 3)])
@pytest.mark.parametrize('name', RULES)
def test_distorted_pictures_are_resized_too(
        name: str, size: tuple[int, int], method: Any) -> None:
    picture = np.full((size[1], size[0], 3), 77, np.uint8)
    got = resized(Frame(picture, 'rgb'), RULES[name], method).astype(int)
    assert np.abs(got - 77).max() <= 1


def test_threads_share_a_resizer() -> None:
    rule = RULES['bilinear']
    resizer = Resizer(rule)
    pictures = [made_picture(480, 640 + 2 * index) for index in range(4)]
    expected = [resized(Frame(picture, 'rgb'), rule, 'fast') for picture in pictures]

    def fit_often(index: int) -> bool:
        out = np.empty((224, 224, 3), np.uint8)
        same = True
        for _ in range(20):
            resizer.resize(Frame(pictures[index], 'rgb'), out)
            same = same and np.array_equal(out, expected[index])
        return same

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fit_often, range(4)))


@pytest.mark.parametrize(('frame', 'words'), [
    (Frame(np.zeros((0, 5, 3), np.uint8), 'rgb'), 'no pixels'),
    (Frame(np.zeros((5, 5), np.uint8), 'rgb'), "no 'rgb' frame"),
    (Frame(np.zeros((5, 5, 3), np.uint8), 'gray'), "no 'gray' frame"),
    (Frame(np.zeros((5, 5, 3), np.uint8), 'yuv'), "no 'yuv' frame"),
    (Frame(np.zeros((5, 5, 3), np.float32), 'rgb'), 'float32'),  # type: ignore[arg-type]
])
def test_a_frame_that_contradicts_itself_is_refused(frame: Frame, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        Resizer(RULES['bilinear']).resize(frame, np.empty((224, 224, 3), np.uint8))


@pytest.mark.parametrize('out', [
    np.empty((224, 224), np.uint8), np.empty((3, 224, 224), np.uint8),
    np.empty((224, 224, 3), np.float32), np.empty((224, 448, 3), np.uint8)[:, ::2],
    np.broadcast_to(np.uint8(0), (224, 224, 3))])
def test_a_row_that_cannot_take_the_result_is_refused(out: Any) -> None:
    with pytest.raises(UsageError, match='cannot resize into'):
        Resizer(RULES['bilinear']).resize(Frame(made_picture(300, 300), 'rgb'), out)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="method 'quick'"):
        Resizer(RULES['bilinear'], 'quick')  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize('rule', [
    ResizeRule(256, 224, 224), ResizeRule(256, 224, 224, 'bicubic'), ResizeRule(None, 224, 224)])
@pytest.mark.parametrize('size', [(1621, 1080), (1080, 1621), (2003, 1999), (1920, 1080)])
@pytest.mark.parametrize('reduction', [2, 4])
def test_a_reduced_frame_is_resized_on_the_grid_of_the_whole_one(rule, size, reduction):
    """Odd sides are rounded up when they are reduced, which must not shift the picture."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.dstack([
        128 + 100 * np.sin(rows / 37), 128 + 100 * np.cos(columns / 41),
        128 + 100 * np.sin((rows + columns) / 53)])
    padded = np.pad(
        smooth, ((0, -height % reduction), (0, -width % reduction), (0, 0)), mode='edge')
    means = padded.reshape(
        padded.shape[0] // reduction, reduction, -1, reduction, 3).mean(axis=(1, 3))
    frame = Frame(
        np.rint(means).astype(np.uint8), 'rgb', reduction=reduction, full_size=(height, width))
    for method in ('fast', 'exact'):
        out, whole = (np.empty((224, 224, 3), np.uint8) for _ in range(2))
        Resizer(rule, method).resize(frame, out)
        Resizer(rule, method).resize(Frame(np.rint(smooth).astype(np.uint8), 'rgb'), whole)
        # The last pixels of a stretch stand for fewer, which shows within the filter's reach.
        assert np.abs(out.astype(int) - whole)[2:-2, 2:-2].max() <= 3
        assert np.abs(out.astype(int) - whole).mean() < 0.5


def test_a_reduction_that_the_pixels_contradict_is_refused():
    frame = Frame(np.zeros((540, 960, 3), np.uint8), 'rgb', reduction=2, full_size=(1082, 1920))
    with pytest.raises(FrameError, match=r'1920x1082 .* 2 times'):
        Resizer(ResizeRule(256, 224, 224)).resize(frame, np.empty((224, 224, 3), np.uint8))
