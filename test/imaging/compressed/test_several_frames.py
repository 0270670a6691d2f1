"""The first frame of animations and of files of several pages is read, and that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import features, Image
import pytest
from resnet_trt_node.cli.support.sources import Inputs
from resnet_trt_node.datasets.listing import describe_several
from resnet_trt_node.datasets.pictures import decode_picture, read_picture
from resnet_trt_node.datasets.store import PictureStore

COLOURS = ((200, 30, 40), (20, 60, 220), (10, 200, 10))
NAMES = ('a.gif', 'a.png', 'a.webp', 'a.tif', pytest.param('a.avif', marks=pytest.mark.skipif(
    not features.check('avif'), reason='this Pillow does not read AVIF')))


def write(path: Path, count: int) -> Path:
    first, *others = (Image.new('RGB', (24, 16), colour) for colour in COLOURS[:count])
    more = {'save_all': True, 'append_images': others, 'duration': 100} if others else {}
    if path.suffix == '.tif':
        more.pop('duration', None)
    first.save(path, **more)
    return path


@pytest.mark.parametrize('name', NAMES)
def test_the_first_frame_is_read(tmp_path: Path, name: str) -> None:
    frame = read_picture(write(tmp_path / name, 3))
    assert frame.of_several
    pixels = frame.pixels[..., 2::-1] if frame.order.startswith('bgr') else frame.pixels[..., :3]
    with Image.open(tmp_path / name) as expected:
        assert getattr(expected, 'n_frames', 1) == 3
        expected.seek(0)
        np.testing.assert_allclose(
            pixels.astype(int), np.asarray(expected.convert('RGB')).astype(int), atol=4)
    np.testing.assert_allclose(pixels[8, 8].astype(int), COLOURS[0], atol=8)
    assert not read_picture(write(tmp_path / name, 1)).of_several


def test_a_frame_behind_the_first_may_be_broken(tmp_path: Path) -> None:
    data = write(tmp_path / 'a.gif', 3).read_bytes()
    start = data.index(b'\x2c', data.index(b'\x2c') + 1)
    assert decode_picture(data[:start + 4], 'a.gif').pixels.shape[:2] == (16, 24)


def test_how_many_is_said(tmp_path: Path) -> None:
    folder = tmp_path / 'folder'
    folder.mkdir()
    write(folder / 'a.gif', 2)
    write(folder / 'b.webp', 3)
    write(folder / 'c.gif', 1)
    alone = write(tmp_path / 'alone.gif', 2)
    with Inputs([str(folder), str(alone)], None, check_pictures=True) as inputs:
        assert inputs.warnings == []
        for source in inputs:
            source.load()
        assert inputs.warnings == [describe_several(3)]
    with PictureStore(folder) as store:
        # Once, however often it is decoded.
        store.frame('a.gif')
        store.frame('a.gif')
        assert store.several == {'a.gif'}


def test_the_line() -> None:
    assert describe_several(0) == ''
    assert describe_several(1) == (
        '1 picture holds several frames or pages, such as an animation: the first of it was read')
    assert describe_several(3) == (
        '3 pictures hold several frames or pages, such as an animation: the first of each was '
        'read')


def test_opencvs_own_limit_of_a_side_is_no_limit_here(tmp_path: Path) -> None:
    side = (1 << 20) + 8
    Image.fromarray(np.full((1, side), 77, np.uint8)).save(tmp_path / 'a.png')
    frame = read_picture(tmp_path / 'a.png')
    assert (frame.order, frame.pixels.shape, frame.pixels[0, -1]) == ('gray', (1, side), 77)
