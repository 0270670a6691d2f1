"""Files of all formats that Pillow reads are used; the others are counted by their endings."""

from __future__ import annotations

from io import BytesIO
import os
from pathlib import Path
import re

import numpy as np
from PIL import features, Image
import pytest

from resnet_trt_node.datasets.listing import (
    count_unread, describe_unread, list_folder, walk_folder)
from resnet_trt_node.datasets.pictures import decode_picture, read_picture
from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.imaging.compressed.picture_formats import picture_suffixes, readable_formats

HAS_AVIF = bool(features.check('avif'))


def picture(height: int = 40, width: int = 60) -> Image.Image:
    """Return a picture of two colours."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, :width // 2] = 200, 30, 40
    pixels[:, width // 2:] = 20, 60, 220
    return Image.fromarray(pixels)


def rgb(path: Path) -> np.ndarray:
    """Return a file's pixels as this package reads them."""
    frame = read_picture(path)
    assert frame.pixels.flags.writeable
    if frame.order == 'gray':
        return np.repeat(frame.pixels[..., None], 3, axis=2)
    return frame.pixels[..., :3] if frame.order.startswith('rgb') else frame.pixels[..., 2::-1]


@pytest.mark.parametrize('name', [
    'a.gif', 'a.jfif', 'a.jpe', 'a.jp2', 'a.mpo', 'a.tga', 'a.ico', 'a.pcx', 'a.sgi', 'a.dds',
    'a.dib', 'a.apng', 'a.qoi', pytest.param('a.avif', marks=pytest.mark.skipif(
        not HAS_AVIF, reason='this Pillow does not read AVIF'))])
def test_every_format_of_pillow_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    try:
        picture(48, 48).save(path, 'PNG' if name == 'a.apng' else None)
    except (ValueError, KeyError) as error:
        pytest.skip(f'this Pillow does not write it: {error}')
    assert list_folder(tmp_path).pictures == [path.name]
    with Image.open(path) as expected:
        np.testing.assert_allclose(
            rgb(path).astype(int), np.asarray(expected.convert('RGB')).astype(int), atol=3)
    np.testing.assert_allclose(rgb(path)[8, 8].astype(int), (200, 30, 40), atol=6)


def test_content_counts_more_than_the_ending(tmp_path: Path) -> None:
    if HAS_AVIF:
        picture().save(tmp_path / 'a.heic', 'AVIF')
    (tmp_path / 'b.heic').write_bytes(b'\0\0\0\x18ftypmp42\0\0\0\0mp42isom')
    picture().save(tmp_path / 'c.png')
    listing = list_folder(tmp_path)
    assert listing.pictures == (['a.heic'] if HAS_AVIF else []) + ['c.png']
    assert listing.unread == {'b.heic': '.heic'}


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'LA', 'RGBA', 'CMYK'])
def test_modes_become_frames(tmp_path: Path, mode: str) -> None:
    kind = {'CMYK': 'TIFF', 'LA': 'TIFF', 'RGBA': 'TGA'}.get(mode, 'GIF')
    suffix = {'TIFF': '.tif', 'TGA': '.tga', 'GIF': '.gif'}[kind]
    picture().convert(mode).save(tmp_path / f'a{suffix}', kind)
    with Image.open(tmp_path / f'a{suffix}') as expected:
        np.testing.assert_array_equal(
            rgb(tmp_path / f'a{suffix}'), np.asarray(expected.convert('RGB')))


def test_files_are_turned_upright_whatever_reads_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    picture().convert('CMYK').save(tmp_path / 'a.tif', exif=exif)
    assert read_picture(tmp_path / 'a.tif').pixels.shape == (60, 40, 3)


def test_16_bits_of_jpeg_2000_are_scaled() -> None:
    file = BytesIO()
    Image.fromarray(np.full((16, 16), 51_400, np.uint16)).save(file, 'JPEG2000')
    frame = decode_picture(file.getvalue(), 'a.jp2')
    assert (frame.order, frame.pixels[0, 0]) == ('gray', 200)


def test_numbers_without_a_white_are_refused() -> None:
    file = BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(file, 'TIFF')
    with pytest.raises(FrameError, match='float32'):
        decode_picture(file.getvalue(), 'a.tif')
    with pytest.raises(FrameError, match=r'^a\.pfm: .*plain numbers'):
        decode_picture(b'Pf\n2 2\n-1.0\n' + bytes(16), 'a.pfm')


def test_formats_that_start_programs_are_not_read() -> None:
    assert not {'EPS', 'WMF', 'MPEG', 'PDF'} & set(readable_formats())
    assert not {'.eps', '.ps', '.pdf', '.mpg', '.txt', ''} & picture_suffixes()
    assert {'.jpg', '.png', '.gif', '.tga', '.jp2', '.heic'} <= picture_suffixes()
    with pytest.raises(FrameError, match='not a picture'):
        decode_picture(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'a.eps')


def test_a_format_without_a_mark_of_its_own_is_known_by_the_ending() -> None:
    file = BytesIO()
    picture().save(file, 'TGA')
    assert decode_picture(file.getvalue(), 'a.tga').pixels.shape == (40, 60, 3)
    with pytest.raises(FrameError, match=r'^a\.jpg: '):
        decode_picture(file.getvalue(), 'a.jpg')


def test_damage_is_blamed_on_files_and_not_on_publishers(tmp_path: Path) -> None:
    for name in ('a.gif', 'a.jp2', 'a.png', 'a.jpg', 'a.webp', 'a.tif', 'a.bmp', 'a.ppm'):
        picture().save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:len(data) * 2 // 3])
        with pytest.raises(FrameError, match='copy the file') as error:
            read_picture(tmp_path / name)
        assert not any(
            word in str(error.value) for word in ('publisher', 'message', 'transport', 'attack'))
        assert '\n' not in str(error.value)


def test_a_picture_of_another_format_is_bounded_too() -> None:
    file = BytesIO()
    picture().save(file, 'GIF')
    with pytest.raises(FrameError, match=r'60x40 gif: .* 1 MiB'):
        decode_picture(file.getvalue(), 'a.gif', max_bytes=60 * 40 * 8)


def test_what_is_not_read_is_counted_by_ending(tmp_path: Path) -> None:
    for name in ('a.png', 'b.TXT', 'c.txt', 'd.mp4', 'e', '.f.png', '.git/g.png', 'in/._h.png',
                 'in/i.x y', 'in/j.pdf', '__MACOSX/k.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'l.png').symlink_to(tmp_path / 'nothing')
    os.mkfifo(tmp_path / 'm.png')
    counts = count_unread(list_folder(tmp_path))
    line = describe_unread(counts)
    assert line.startswith('12 files')
    assert line.endswith(
        ': 4 hidden, 2 .txt, 1 .mp4, 1 .pdf, 1 broken link, 1 no file, 1 of other endings, '
        '1 without ending')


@pytest.mark.parametrize(('counts', 'pattern'), [
    ({}, ''), ({'.txt': 1}, '1 file .*: 1 .txt'),
    ({'.txt': 1, '.avif': 2}, '3 files .*: 2 .avif, 1 .txt'),
    ({f'.e{number}': 20 - number for number in range(10)},
     '155 files .*: 20 .e0, 19 .e1, 18 .e2, 17 .e3, 16 .e4, 15 .e5, 14 .e6, 13 .e7, '
     '23 others')])
def test_the_line_is_short(counts: dict[str, int], pattern: str) -> None:
    assert re.fullmatch(pattern, describe_unread(counts))


def test_a_folder_that_cannot_be_read_is_named(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(os, 'scandir', refuse)
    with pytest.raises(DataError, match=r'folder .*: Permission denied'):
        list(walk_folder(tmp_path))
