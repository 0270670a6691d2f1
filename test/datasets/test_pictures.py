"""Picture files: which are found, and how they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.datasets.listing import list_folder
from resnet_trt_node.datasets.pictures import read_picture
from resnet_trt_node.errors import FrameError

PICTURE = np.dstack([
    np.full((20, 30), 200, np.uint8), np.tile(np.arange(30, dtype=np.uint8), (20, 1)),
    np.full((20, 30), 40, np.uint8)])


def test_pictures_are_read_by_their_content(tmp_path: Path) -> None:
    for kind in ('PNG', 'BMP', 'TIFF', 'PPM'):
        path = tmp_path / f'{kind}.jpg'
        Image.fromarray(PICTURE).save(path, kind)
        frame = read_picture(path)
        assert frame.order == 'bgr'
        np.testing.assert_array_equal(frame.pixels[..., ::-1], PICTURE)


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(PICTURE).save(tmp_path / 'turned.jpg', quality=95, exif=exif)
    pixels = read_picture(tmp_path / 'turned.jpg').pixels[..., ::-1]
    np.testing.assert_allclose(pixels.astype(int), PICTURE[::-1, ::-1], atol=8)


def test_unreadable_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / 'text.jpg').write_text('not a picture, only words')
    with pytest.raises(FrameError, match=r'text\.jpg: .*not a picture'):
        read_picture(tmp_path / 'text.jpg')
    with pytest.raises(FrameError, match=r'none\.jpg: No such file'):
        read_picture(tmp_path / 'none.jpg')
    with pytest.raises(FrameError, match='it is a folder'):
        read_picture(tmp_path)


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    for name in ('b.png', 'a.JPEG', 'inner/c.webp', '.hidden/d.png', '.e.png', 'labels.tsv',
                 'aa.png'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / 'folder.png').mkdir()
    assert list_folder(tmp_path).pictures == ['a.JPEG', 'aa.png', 'b.png', 'inner/c.webp']
    # What is hidden within the folder is left out, not what lies in a hidden one.
    assert list_folder(tmp_path / '.hidden').pictures == ['d.png']
