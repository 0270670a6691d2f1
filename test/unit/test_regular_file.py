"""Ordinary files are read; whatever else has a name is refused at once."""

import os
from pathlib import Path
import socket

import pytest

from resnet_trt_node import regular_file
from resnet_trt_node.regular_file import open_regular, read_regular


@pytest.mark.parametrize('content', [b'', b'some', bytes(3 * (1 << 20) + 1)])
def test_an_ordinary_file_is_read_whole(tmp_path, content):
    path = tmp_path / 'file'
    path.write_bytes(content)
    link = tmp_path / 'link'
    link.symlink_to(path)
    for name in (path, str(path), link):
        assert read_regular(name, len(content)) == content
        with open_regular(name) as file:
            assert file.read() == content


def test_a_file_of_the_kernel_that_has_no_size_is_read():
    path = Path('/proc/self/status')
    assert path.stat().st_size == 0
    assert read_regular(path, 1 << 20).startswith(b'Name:')
    with pytest.raises(OSError, match='more than 10 bytes'):
        read_regular(path, 10)


def test_a_file_over_the_limit_is_refused_unread(tmp_path):
    path = tmp_path / 'sparse'
    with path.open('wb') as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError) as refusal:
        read_regular(path, 5)
    assert 'more than 5 bytes' in refusal.value.strerror
    assert refusal.value.filename == str(path)


def test_a_file_that_grows_while_it_is_read_ends_at_the_limit(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    path.write_bytes(b'1234')
    true_open = regular_file.open_regular

    def open_growing(path):
        file = true_open(path)
        status = os.fstat(file.fileno())
        monkeypatch.setattr(regular_file.os, 'fstat', lambda descriptor: status)
        with Path(path).open('ab') as more:
            more.write(b'56789')
        return file
    monkeypatch.setattr(regular_file, 'open_regular', open_growing)
    with pytest.raises(OSError, match='more than 8 bytes'):
        read_regular(path, 8)
    monkeypatch.undo()
    assert read_regular(path, 9) == b'123456789'


def test_too_little_memory_is_reported_in_words(tmp_path, monkeypatch):
    def fail(*arguments):
        raise MemoryError
    monkeypatch.setattr(regular_file, '_read', fail)
    (tmp_path / 'file').write_bytes(b'1234')
    with pytest.raises(OSError, match='memory'):
        read_regular(tmp_path / 'file', 9)


def make(path, kind):
    """Put something under a name that is no ordinary file; return where it is to be found."""
    if kind == 'a folder':
        path.mkdir()
    elif kind == 'a named pipe':
        os.mkfifo(path)
    elif kind == 'a socket':
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    else:
        return Path('/dev/zero')
    return path


@pytest.mark.parametrize('kind', ['a folder', 'a named pipe', 'a socket', 'a device'])
@pytest.mark.parametrize('read', [open_regular, lambda path: read_regular(path, 1 << 20)])
@pytest.mark.parametrize('linked', [False, True])
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path, monkeypatch, kind, read, linked):
    monkeypatch.chdir(tmp_path)
    path = make(Path('thing'), kind)
    if linked:
        Path('link').symlink_to(path)
        path = Path('link')
    with pytest.raises(OSError) as refusal:
        read(path)
    assert f'it is {kind}' in refusal.value.strerror
    assert refusal.value.filename == str(path)


def test_what_takes_the_place_of_a_file_in_between_is_refused_too(tmp_path, monkeypatch):
    path = tmp_path / 'thing'
    path.write_bytes(b'')
    true_stat = os.stat

    def replace(name):
        status = true_stat(name)
        path.unlink()
        os.mkfifo(path)
        return status
    before = len(os.listdir('/proc/self/fd'))
    monkeypatch.setattr(regular_file.os, 'stat', replace)
    with pytest.raises(OSError, match='named pipe'):
        open_regular(path)
    monkeypatch.undo()
    assert len(os.listdir('/proc/self/fd')) == before


def test_a_missing_file_is_missing(tmp_path):
    for read in (open_regular, lambda path: read_regular(path, 1)):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / 'nowhere')
