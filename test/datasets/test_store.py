"""Files of folders and zip files by their names, links and what is missing included."""

from __future__ import annotations

import os
from pathlib import Path
import stat
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from resnet_trt_node.datasets.listing import count_unread
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.zip_names import plain_name
from resnet_trt_node.errors import DataError, FrameError


@pytest.fixture(params=['folder', 'zip', 'zip within'])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder, a zip file or a folder of one, with a file and an empty folder."""
    if request.param == 'folder':
        (tmp_path / 'data' / 'cat').mkdir(parents=True)
        (tmp_path / 'data' / 'empty').mkdir()
        (tmp_path / 'data' / 'cat' / 'a.txt').write_bytes(b'meow')
        return tmp_path / 'data'
    within = 'in/' if request.param == 'zip within' else ''
    with ZipFile(tmp_path / 'data.zip', 'w') as archive:
        for name, data in ((within, b''), ('cat/', b''), ('cat/a.txt', b'meow'), ('empty/', b'')):
            if name:
                archive.writestr(name if name == within else within + name, data)
        if within:
            archive.writestr('index', b'beside the folder')
    return tmp_path / 'data.zip' / within


def test_files_and_folders_are_listed_below_the_root_alone(root):
    with PictureStore(root) as store:
        assert store.file_names() == ['cat/a.txt']
        assert store.listing.folders == ['cat', 'empty']
        assert (store.read('cat/a.txt'), store.size_bytes('cat/a.txt')) == (b'meow', 4)


def test_a_closed_store_holds_no_file_open(root):
    before = len(os.listdir('/proc/self/fd'))
    store = PictureStore(root)
    store.read('cat/a.txt')
    store.close()
    store.close()
    assert len(os.listdir('/proc/self/fd')) == before


def test_what_is_missing_is_named(root):
    with PictureStore(root) as store:
        with pytest.raises(FrameError, match=r'cannot read cat/b\.txt'):
            store.read('cat/b.txt')
        with pytest.raises(FrameError, match=r'cannot find cat/b\.txt'):
            store.size_bytes('cat/b.txt')
        with pytest.raises(FrameError, match=r'cat/a\.txt.* not a picture'):
            store.frame('cat/a.txt')
        with pytest.raises(FrameError, match=r'cat/a\.txt.* not a picture'):
            store.frame('cat/a.txt', reduced_to=8)


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / 'far' / 'cat').mkdir(parents=True)
    (tmp_path / 'far' / 'cat' / 'a.txt').write_bytes(b'meow')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'linked').symlink_to(tmp_path / 'far')
    (tmp_path / 'far' / 'cat' / 'round').symlink_to(tmp_path / 'far')
    (tmp_path / 'far' / 'again').symlink_to(tmp_path / 'data')
    store = PictureStore(tmp_path / 'data')
    assert store.file_names() == ['linked/cat/a.txt']
    assert store.listing.folders == ['linked', 'linked/cat']
    assert store.listing.unread == {
        'linked/cat/a.txt': '.txt', 'linked/again': 'link in a circle',
        'linked/cat/round': 'link in a circle'}


def test_two_links_to_one_folder_are_two_folders(tmp_path):
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far' / 'a.png').touch()
    (tmp_path / 'data').mkdir()
    for name in ('x', 'y'):
        (tmp_path / 'data' / name).symlink_to(tmp_path / 'far')
    assert PictureStore(tmp_path / 'data').listing.pictures == ['x/a.png', 'y/a.png']


def test_members_of_a_zip_file_with_odd_names(tmp_path):
    link = ZipInfo('cat/link.png')
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with ZipFile(tmp_path / 'a.zip', 'w') as archive:
        for name in ('cat/a.png', 'dog\\b.png', '/etc/c.png', '../out.png', 'cat/./a.png',
                     '__MACOSX/cat/._a.png', 'cat/.d.png', '__MACOSX/', 'cat/e.\x1b[31m', 'cat/f'):
            archive.writestr(name, b'content')
        archive.writestr(link, 'a.png')
    with PictureStore(tmp_path / 'a.zip') as store:
        assert store.listing.pictures == ['cat/a.png', 'dog/b.png', 'etc/c.png']
        assert store.listing.folders == ['cat', 'dog', 'etc']
        assert count_unread(store.listing) == {
            'hidden': 3, 'of other endings': 1, 'without ending': 1, 'link in a zip file': 1,
            'of a name that is there twice': 1}
        assert store.read('dog/b.png') == b'content'
        assert 'cat/link.png' not in store.file_names()
        with pytest.raises(FrameError, match=r'cannot read cat/\\x1b\[31m') as error:
            store.read('cat/\x1b[31m')
        assert str(error.value).isprintable()


def test_a_member_that_inflates_to_gigabytes_is_refused_before(tmp_path, monkeypatch):
    with ZipFile(tmp_path / 'a.zip', 'w', ZIP_DEFLATED) as archive:
        archive.writestr('cat/bomb.png', bytes(5_000_000))
    assert (tmp_path / 'a.zip').stat().st_size < 10_000
    monkeypatch.setattr(ZipFile, 'read', None)
    with PictureStore(tmp_path / 'a.zip', 4_000_000) as store, pytest.raises(
            FrameError, match=r'cat/bomb\.png .* 5 MiB'):
        store.frame('cat/bomb.png')


@pytest.mark.parametrize('kind', ['pipe', 'device'])
def test_what_is_no_file_is_never_waited_for(tmp_path, kind):
    place = tmp_path / 'a.png'
    if kind == 'pipe':
        os.mkfifo(place)
    else:
        place.symlink_to('/dev/zero')
    (tmp_path / 'b.png').symlink_to(tmp_path / 'gone')
    store = PictureStore(tmp_path)
    assert store.listing.pictures == []
    assert count_unread(store.listing) == {'no file': 1, 'broken link': 1}
    for read in (store.read, store.frame):
        with pytest.raises(FrameError, match=rf'a\.png.* it is a (named )?{kind}'):
            read('a.png')
    with pytest.raises(DataError, match='zip file'):
        PictureStore(place)


@pytest.mark.parametrize(('name', 'plain'), [
    ('a.png', 'a.png'), ('./cat//a.png', 'cat/a.png'), ('/cat/./', 'cat/'), ('./', ''), ('', ''),
    ('.hidden/..', '.hidden/..')])
def test_names_of_a_zip_file_are_made_plain(name, plain):
    assert plain_name(name) == plain
