"""HEIC by pillow-heif, an extra: read as Pillow reads it, and one line where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import sys

import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.cli.support.sources import Inputs
from resnet_trt_node.datasets.listing import count_unread, describe_unread, list_folder
from resnet_trt_node.datasets.pictures import decode_picture, read_picture
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.compressed import picture_formats

#: How a HEIC file begins.
START = b'\0\0\0\x18ftypheic\0\0\0\0mif1heic'


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have no pillow-heif, whether or not another test registered it."""
    def forget() -> None:
        picture_formats._register_heif.cache_clear()
        picture_formats.readable_formats.cache_clear()
    # Once only: what it adds to a list that is taken back would be missing for good.
    Image.init()
    with monkeypatch.context() as changes:
        changes.setitem(sys.modules, 'pillow_heif', None)
        changes.setattr(Image, 'ID', [name for name in Image.ID if name != 'HEIF'])
        forget()
        yield
    forget()


def write_heic(path: Path) -> Path:
    heif = pytest.importorskip('pillow_heif', reason='pillow-heif reads and writes HEIC')
    pixels = np.empty((48, 64, 3), np.uint8)
    pixels[:, :32] = 200, 30, 40
    pixels[:, 32:] = 20, 60, 220
    try:
        heif.from_bytes('RGB', (64, 48), pixels.tobytes()).save(path, quality=95)
    except RuntimeError as error:
        pytest.skip(f'this pillow-heif has no encoder: {error}')
    return path


@pytest.mark.parametrize('name', ['a.heic', 'a.HIF', 'a.jpg'])
def test_heic_is_read_as_pillow_reads_it(tmp_path: Path, name: str) -> None:
    path = write_heic(tmp_path / 'made.heic').rename(tmp_path / name)
    assert list_folder(tmp_path).pictures == [name]
    frame = read_picture(path)
    assert (frame.order, frame.pixels.shape) == ('rgb', (48, 64, 3))
    np.testing.assert_allclose(frame.pixels[24, 8].astype(int), (200, 30, 40), atol=8)
    np.testing.assert_allclose(frame.pixels[24, 56].astype(int), (20, 60, 220), atol=8)
    # Registered by the reading above.
    with Image.open(path) as expected:
        assert expected.format == 'HEIF'
        np.testing.assert_array_equal(frame.pixels, np.asarray(expected.convert('RGB')))
    with Inputs([str(path)], None, check_pictures=True) as inputs:
        assert [source.load().size for source in inputs] == [(48, 64)]


def test_heic_is_turned_upright_once(tmp_path: Path) -> None:
    path = write_heic(tmp_path / 'made.heic')
    heif = pytest.importorskip('pillow_heif', reason='pillow-heif reads and writes HEIC')
    read_picture(path)
    exif = Image.Exif()
    exif[274] = 6
    turned = tmp_path / 'turned.heic'
    heif.from_pillow(Image.open(path)).save(turned, exif=exif.tobytes(), quality=95)
    assert read_picture(turned).pixels.shape == (64, 48, 3)


def test_a_broken_heic_is_blamed_on_the_file(tmp_path: Path) -> None:
    path = write_heic(tmp_path / 'a.heic')
    data = path.read_bytes()
    with pytest.raises(FrameError, match=r'^a\.heic: broken picture .*copy the file') as error:
        decode_picture(data[:len(data) // 2], 'a.heic')
    assert '\n' not in str(error.value)


def test_heic_is_bounded_before_it_is_decoded(tmp_path: Path) -> None:
    data = write_heic(tmp_path / 'a.heic').read_bytes()
    with pytest.raises(FrameError, match=r'64x48 heif: .*--max-image-mib'):
        decode_picture(data, 'a.heic', max_bytes=64 * 48 * 4)


@pytest.mark.usefixtures('no_heif')
def test_without_pillow_heif_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / 'a.heic').write_bytes(START)
    (tmp_path / 'b.heic').write_bytes(START)
    (tmp_path / 'c.heic').write_bytes(b'no picture at all')
    listing = list_folder(tmp_path)
    assert listing.pictures == []
    assert describe_unread(count_unread(listing)) == (
        '3 files were not read: 2 .heic (HEIC needs pillow-heif: pip install pillow-heif), '
        '1 .heic')
    for name in ('a.heic', 'a.jpg'):
        with pytest.raises(FrameError) as refusal:
            decode_picture(START, name)
        assert str(refusal.value) == (
            f'{name}: it cannot be read: HEIC needs pillow-heif: pip install pillow-heif')
    with pytest.raises(FrameError, match=r'\(HEIC needs pillow-heif: pip install'):
        Inputs([str(tmp_path / 'a.heic')], None, check_pictures=True)


def test_a_pillow_without_avif_is_told_of(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = [name for name in picture_formats.readable_formats() if name != 'AVIF']
    monkeypatch.setattr(picture_formats, 'readable_formats', lambda: formats)
    data = b'\0\0\0\x1cftypavif\0\0\0\0avifmif1'
    with pytest.raises(FrameError, match='AVIF needs a newer Pillow: pip install'):
        decode_picture(data, 'a.avif')
    (tmp_path / 'a.avif').write_bytes(data)
    assert list(list_folder(tmp_path).unread.values()) == [
        ".avif (AVIF needs a newer Pillow: pip install 'pillow>=11.3')"]
