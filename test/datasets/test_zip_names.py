"""Zip files made on Windows and by programs that do not mark UTF-8: names as they were meant."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
import struct
from zipfile import ZipFile, ZipInfo
import zlib

from PIL import Image
import pytest
from resnet_trt_node.datasets.class_folders import ClassFolders
from resnet_trt_node.datasets.store import PictureStore

CLASSES = ('Möwe', 'Taube')


def png() -> bytes:
    file = BytesIO()
    Image.new('RGB', (4, 4), (9, 99, 199)).save(file, 'PNG')
    return file.getvalue()


def write_zip(
        path: Path, encoding: str, separator: str = '/', system: int = 0,
        unicode_path: bool = False) -> Path:
    """
    Write class folders as other programs do, whose names are not marked as UTF-8.

    :param encoding: of the names.
    :param unicode_path: whether their UTF-8 form stands beside them.
    """
    with ZipFile(path, 'w') as archive:
        for letter, name in zip('xy', CLASSES):
            raw = f'{name}{separator}1.png'.encode(encoding)
            # As many letters as bytes, none of which needs a mark.
            member = ZipInfo(letter * len(raw))
            member.create_system = system
            if unicode_path:
                field = struct.pack('<BI', 1, zlib.crc32(raw)) + f'{name}/1.png'.encode()
                member.extra = struct.pack('<HH', 0x7075, len(field)) + field
            archive.writestr(member, png())
    data = path.read_bytes()
    for letter, name in zip('xy', CLASSES):
        raw = f'{name}{separator}1.png'.encode(encoding)
        data = data.replace(letter.encode() * len(raw), raw)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize('separator', ['/', '\\'])
@pytest.mark.parametrize(('encoding', 'kind'), [('cp437', 'code page 437'), ('utf-8', 'UTF-8')])
def test_class_folders_in_a_zip_file_of_windows(
        tmp_path: Path, encoding: str, kind: str, separator: str) -> None:
    path = write_zip(tmp_path / 'a.zip', encoding, separator)
    with ClassFolders(path, CLASSES) as data:
        assert [(item.name, item.target) for item in data.items] == [
            ('Möwe/1.png', 0), ('Taube/1.png', 1)]
        assert data.frame(data.items[0]).pixels[0, 0].tolist() == [199, 99, 9]
        assert data.assumptions == (
            f'{path}: 1 name of files that the zip file does not mark as UTF-8 was read as '
            f'{kind}',)


def test_a_name_that_stands_there_in_utf_8_as_well(tmp_path: Path) -> None:
    # As WinRAR writes it beside that of a code page which Python does not ask for.
    path = write_zip(tmp_path / 'a.zip', 'cp1252', unicode_path=True)
    with PictureStore(path) as store:
        assert store.listing.pictures == ['Möwe/1.png', 'Taube/1.png']
        assert store.assumptions == ()
        assert store.frame('Möwe/1.png').size == (4, 4)


def test_a_utf_8_form_of_another_name_is_ignored(tmp_path: Path) -> None:
    path = write_zip(tmp_path / 'a.zip', 'cp437', unicode_path=True)
    path.write_bytes(path.read_bytes().replace('Möwe'.encode('cp437'), 'Käfe'.encode('cp437')))
    with PictureStore(path) as store:
        assert store.listing.pictures == ['Käfe/1.png', 'Taube/1.png']


def test_backslashes_beside_slashes_are_those_of_windows(tmp_path: Path) -> None:
    for system, names in ((0, ['a/b/c.png']), (3, ['a/b\\c.png'])):
        with ZipFile(tmp_path / 'a.zip', 'w') as archive:
            member = ZipInfo('a/b\\c.png')
            member.create_system = system
            archive.writestr(member, png())
        with PictureStore(tmp_path / 'a.zip') as store:
            assert store.listing.pictures == names


def test_marked_and_plain_names_leave_no_question(tmp_path: Path) -> None:
    with ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('Möwe/1.png', png())
        archive.writestr('Taube/1.png', png())
    with PictureStore(tmp_path / 'a.zip') as store:
        assert store.listing.pictures == ['Möwe/1.png', 'Taube/1.png']
        assert store.assumptions == ()
