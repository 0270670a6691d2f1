"""Class folders: found in folders and zip files alike, and every misfit is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
import os
from pathlib import Path
from threading import Event
from typing import Any, List
from zipfile import ZIP_LZMA, ZipFile

import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.datasets import class_folders
from resnet_trt_node.datasets.class_folders import (
    ClassFolders, CorruptPicture, decoded, find_corrupt, find_parts, refuse_corrupt)
from resnet_trt_node.datasets.labelled import LabelledPictures
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.imaging.frame import Frame


def png(level: int) -> bytes:
    """Return an 8x8 picture of one grey level."""
    data = BytesIO()
    Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(data, 'PNG')
    return data.getvalue()


#: Two classes; what is no picture, hidden, or of macOS does not count.
FILES: dict[str, bytes] = {
    'dog/b.png': png(1), 'dog/a.png': png(0), 'cat/deep/er.png': png(2),
    'cat/notes.txt': b'x', 'README.md': b'x', '__MACOSX/cat/._er.png': b'x', '.git/x.png': b'x'}


@pytest.fixture(params=['folder', 'zip', 'zip within'])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return what lays files out in a folder, a zip file, or a folder of a zip file."""
    def lay(files: dict[str, bytes]) -> Path:
        if request.param == 'folder':
            for name, data in files.items():
                path = tmp_path / 'data' / name
                if name.endswith('/'):
                    path.mkdir(parents=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            return tmp_path / 'data'
        within = 'inner/' if request.param == 'zip within' else ''
        with ZipFile(tmp_path / 'data.zip', 'w') as archive:
            for name, data in files.items():
                archive.writestr(within + name, data)
        return tmp_path / 'data.zip' / within

    return lay


def test_classes_are_the_sorted_folders(make):
    with ClassFolders(make(FILES)) as data:
        assert data.classes == ('cat', 'dog')
        assert [(item.name, item.target) for item in data.items] == [
            ('cat/deep/er.png', 0), ('dog/a.png', 1), ('dog/b.png', 1)]
        assert data.counts() == {'cat': 1, 'dog': 2}
        assert (data.absent, data.unlabelled) == ((), 0)
        assert [int(data.frame(item).pixels[0, 0, 0]) for item in data.items] == [2, 0, 1]


def test_given_classes_decide_the_indices(make):
    with ClassFolders(make(FILES), classes=('dog', 'cow', 'cat')) as data:
        assert data.classes == ('dog', 'cow', 'cat')
        assert sorted(item.target for item in data.items) == [0, 0, 2]
        assert data.absent == ('cow',)


@pytest.mark.parametrize(('files', 'keyword'), [
    ({'readme.txt': b'x'}, 'no class folders'),
    ({'cat/a.png': png(0)}, 'one class only, cat'),
    ({**FILES, 'emu/': b''}, r'without pictures .*: emu; .*remove'),
    ({**FILES, 'emu/notes.txt': b'x'}, r'without pictures .*: emu'),
    ({**FILES, 'stray.png': png(0)}, 'outside of .*: stray'),
    ({f'{part}/{name}': data for part in ('train', 'test') for name, data in FILES.items()
      if name.startswith(('cat', 'dog'))}, 'divided into test, train')])
def test_what_cannot_be_classes_is_refused(make, files, keyword):
    with pytest.raises(DataError, match=keyword):
        ClassFolders(make(files))


def test_a_folder_of_an_unknown_class_is_named(make):
    with pytest.raises(DataError, match=r'unknown .*: dog; .*: cow'):
        ClassFolders(make(FILES), classes=('cat', 'cow'))


def test_a_folder_around_the_classes_is_suggested(make):
    root = make({f'my photos/{name}/a.png': png(0) for name in ('cat', 'dog')})
    with pytest.raises(DataError, match=f'one class only, .* {root}/my photos'):
        ClassFolders(root)
    with pytest.raises(DataError, match=f'unknown .* {root}/my photos'):
        ClassFolders(root, classes=('cat', 'dog'))
    with ClassFolders(root / 'my photos') as data:
        assert data.classes == ('cat', 'dog')


def test_one_class_without_folders_in_it_suggests_no_other_folder(make):
    root = make({'cat/a.png': png(0)})
    with pytest.raises(DataError) as caught:
        ClassFolders(root)
    assert f'{root}/cat' not in str(caught.value)


def test_what_is_not_there_is_refused(make):
    root = make(FILES)
    with pytest.raises(DataError, match='no folder'):
        ClassFolders(root / 'missing')


def test_parts_of_a_divided_data_set_are_found(make):
    parts = ('train', 'test')
    root = make({f'{part}/{name}': data for part in parts for name, data in FILES.items()})
    found = find_parts(root)
    assert found == {'train': str(root / 'train'), 'validation': str(root / 'test')}
    with ClassFolders(found['validation']) as data:
        assert data.classes == ('cat', 'dog')


def test_of_several_parts_the_one_for_validation_comes_before_that_for_tests(make):
    parts = ('training', 'train', 'test', 'val')
    root = make({f'{part}/{name}': data for part in parts for name, data in FILES.items()})
    assert find_parts(root) == {'train': str(root / 'train'), 'validation': str(root / 'val')}


def test_a_class_may_be_called_train(make):
    assert find_parts(make({'train/a.png': png(0), 'tram/b.png': png(0)})) == {}


def test_pictures_of_every_class_may_lie_deeper(make):
    with ClassFolders(make({'train/old/a.png': png(0), 'tram/old/b.png': png(0)})) as data:
        assert data.classes == ('train', 'tram')


def test_corrupt_pictures_are_listed_with_the_reason(make):
    root = make({**FILES, 'dog/cut.png': png(3)[:40], 'dog/text.jpg': b'no picture'})
    steps: list[None] = []
    with ClassFolders(root) as data:
        corrupt = find_corrupt(data, step=lambda: steps.append(None), threads=2)
        assert len(steps) == len(data.items) == 5
        with pytest.raises(FrameError, match=r'dog/cut\.png'):
            data.frame(data.items[3])
    assert [one.name for one in corrupt] == ['dog/cut.png', 'dog/text.jpg']
    assert 'not a picture' in corrupt[1].reason
    with pytest.raises(DataError, match=r'2 of 5 .*--skip-bad.*dog/cut\.png'):
        refuse_corrupt((corrupt, 5, root))
    refuse_corrupt(([], 5, root), ([], 0, 'elsewhere'))


def test_many_pictures_are_decoded_in_their_order(make):
    root = make({f'{name}/{level:03}.png': png(level) for name in 'ab' for level in range(100)})
    with ClassFolders(root) as data:
        results = list(decoded(data.items, data.frame, threads=3))
    assert [item for item, _ in results] == list(data.items)
    levels = [result.pixels[0, 0, 0] for _, result in results if isinstance(result, Frame)]
    assert levels == [*range(100), *range(100)]


def test_decoding_can_be_cancelled_midway(make):
    root = make({f'{name}/{level:03}.png': png(level) for name in 'ab' for level in range(100)})
    with ClassFolders(root) as data:
        results = decoded(data.items, data.frame, threads=2)
        assert not isinstance(next(results)[1], CorruptPicture)
        results.close()  # waits for the threads; a leak would hang the test's process


def test_few_pictures_are_decoded_ahead_and_none_after_giving_up(monkeypatch):
    class Counted(List[LabelledPicture]):

        def __getitem__(self, place):
            taken.append(place.stop)
            return super().__getitem__(place)

    taken: list[int] = []
    items = Counted(LabelledPicture(str(number), 0) for number in range(400))
    decoded_ones, busy, given_up = [], Event(), Event()

    class Pool(ThreadPoolExecutor):

        def __exit__(self, *error):
            given_up.set()
            return super().__exit__(*error)

    def slow(item):
        decoded_ones.append(int(item.name))
        if item.name == '8':
            busy.set()
            assert given_up.wait(60)
        return item.name

    monkeypatch.setattr(class_folders, 'ThreadPoolExecutor', Pool)
    results = decoded(items, slow, threads=1)
    assert [next(results)[1] for _ in range(8)] == list('01234567')
    assert busy.wait(30)
    results.close()
    # The thread was at its second eight of three that were handed out.
    assert decoded_ones == list(range(16))
    assert taken == [8, 16, 24]


def test_fewer_than_no_threads_are_refused():
    with pytest.raises(UsageError, match='--threads -1'):
        next(decoded([], str, threads=-1))


@pytest.mark.parametrize('opening', [
    ClassFolders, lambda root: LabelledPictures(root, None, 2), lambda root: PictureStore(
        root / 'none')])
def test_a_zip_file_is_closed_when_it_is_refused(tmp_path, opening):
    with ZipFile(tmp_path / 'data.zip', 'w') as archive:
        archive.writestr('a.png', png(0))
    before = os.listdir('/proc/self/fd')
    with pytest.raises(DataError) as caught:
        opening(tmp_path / 'data.zip')
    # `caught` keeps all that the traceback refers to.
    assert len(os.listdir('/proc/self/fd')) == len(before), caught


@pytest.mark.parametrize('start', ['./', '/', './/', './in/./'])
@pytest.mark.parametrize('classes', [None, ('cat', 'dog')])
def test_names_of_a_zip_file_may_start_with_no_folder(tmp_path, start, classes):
    with ZipFile(tmp_path / 'data.zip', 'w') as archive:
        archive.writestr(start, b'')
        for name in ('cat', 'dog'):
            archive.writestr(f'{start}{name}/', b'')
            archive.writestr(f'{start}{name}/a.png', png(7))
        archive.writestr(f'{start}labels.tsv', f'{start}cat/a.png\t0\ndog/a.png\t1\n')
    root = tmp_path / 'data.zip' / ('in' if 'in' in start else '')
    with ClassFolders(root, classes) as data:
        assert [item.name for item in data.items] == ['cat/a.png', 'dog/a.png']
        assert [data.store.size_bytes(item.name) for item in data.items] == [len(png(7))] * 2
        assert data.frame(data.items[0]).pixels[0, 0, 0] == 7
    if 'in' not in start:
        with LabelledPictures(root, None, 2) as table:
            assert [table.frame(item).pixels[0, 0, 0] for item in table.items] == [7, 7]


def test_a_zip_file_whose_names_are_not_what_they_claim_is_refused(tmp_path):
    path = tmp_path / 'data.zip'
    with ZipFile(path, 'w') as archive:
        archive.writestr('caf\u00e9/a.png', png(0))
    path.write_bytes(path.read_bytes().replace(b'\xc3\xa9', b'\xe9\xe9'))
    with pytest.raises(DataError, match=r"data\.zip .*'utf-8'"):
        ClassFolders(path)


def test_a_damaged_lzma_member_is_a_corrupt_picture(tmp_path):
    path = tmp_path / 'data.zip'
    with ZipFile(path, 'w', ZIP_LZMA) as archive:
        for name in ('cat', 'dog'):
            archive.writestr(f'{name}/a.png', png(0))
        start = archive.getinfo('dog/a.png').header_offset
    data = bytearray(path.read_bytes())
    # After a header of 30 bytes, the name and 9 bytes of properties.
    data[start + 30 + len('dog/a.png') + 9] = 0xff
    path.write_bytes(data)
    with ClassFolders(path) as folders:
        assert [one.name for one in find_corrupt(folders, threads=1)] == ['dog/a.png']


def test_class_names_that_are_no_unicode_are_refused(tmp_path):
    for name in ('cat', 'dog', os.fsdecode(b'caf\xe9')):
        try:
            (tmp_path / name).mkdir()
        except OSError:
            pytest.skip('this file system takes Unicode only')
        (tmp_path / name / 'a.png').write_bytes(png(0))
    with pytest.raises(DataError, match=r'UTF-8: caf\\xe9; rename') as caught:
        ClassFolders(tmp_path)
    str(caught.value).encode()
