"""Files of folders and zip files by their names, links and what is missing included."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile

import pytest

from resnet_trt_node.errors import FrameError
from resnet_trt_node.inference.picture_store import PictureStore, plain_name


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
        assert store.folder_names() == ['cat', 'empty']
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
        with pytest.raises(FrameError, match=r'cannot read cat/b\.txt in .*data'):
            store.read('cat/b.txt')
        with pytest.raises(FrameError, match=r'cannot find cat/b\.txt in .*data'):
            store.size_bytes('cat/b.txt')
        with pytest.raises(FrameError, match=r'cat/a\.txt.* are not a picture'):
            store.frame('cat/a.txt')
        with pytest.raises(FrameError, match=r'cat/a\.txt.* are not a picture'):
            store.frame('cat/a.txt', reduced_to=8)


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / 'far' / 'cat').mkdir(parents=True)
    (tmp_path / 'far' / 'cat' / 'a.txt').write_bytes(b'meow')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'linked').symlink_to(tmp_path / 'far')
    (tmp_path / 'far' / 'cat' / 'round').symlink_to(tmp_path / 'far')
    (tmp_path / 'far' / 'again').symlink_to(tmp_path / 'data')
    assert PictureStore(tmp_path / 'data').file_names() == ['linked/cat/a.txt']


@pytest.mark.parametrize(('name', 'plain'), [
    ('a.png', 'a.png'), ('./cat//a.png', 'cat/a.png'), ('/cat/./', 'cat/'), ('./', ''), ('', ''),
    ('.hidden/..', '.hidden/..')])
def test_names_of_a_zip_file_are_made_plain(name, plain):
    assert plain_name(name) == plain
