"""Files that hold code: whose are read, and how one process at a time holds their folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import os

import pytest

from resnet_trt_node.backends.engines import files as engine_files
from resnet_trt_node.backends.engines.files import (
    folder_lock, prepare_folder, read_trusted, UntrustedFile, write_atomically)
from resnet_trt_node.errors import BackendError


@pytest.fixture
def file(tmp_path):
    """Return a file as the cache writes it."""
    write_atomically(tmp_path / 'plan', b'code')
    return tmp_path / 'plan'


@pytest.mark.parametrize('mode', [0o620, 0o602])
def test_what_a_group_or_others_can_write_is_refused(file, mode):
    file.chmod(mode)
    with pytest.raises(UntrustedFile, match='chmod go-w'):
        read_trusted(file, None, 9)
    file.chmod(0o644)
    assert read_trusted(file, None, 9) == b'code'


@pytest.mark.parametrize(('owner', 'wanted', 'words'), [
    (0, None, ''), (0, 0, ''), (0, 1234, 'user 0, user 1234'),
    (1234, None, ''), (1234, 1234, ''), (4321, None, '4321, not to user 1234'),
    (4321, 4321, '4321, not to user 1234')])
def test_files_of_this_user_and_of_root_are_read(file, monkeypatch, owner, wanted, words):
    really = os.fstat

    def owned(descriptor):
        status = list(really(descriptor))
        status[4] = owner
        return os.stat_result(status)

    monkeypatch.setattr(engine_files.os, 'fstat', owned)
    monkeypatch.setattr(engine_files.os, 'geteuid', lambda: 1234)
    if not words:
        assert read_trusted(file, wanted, 9) == b'code'
        return
    with pytest.raises(UntrustedFile, match=words):
        read_trusted(file, wanted, 9)


def test_more_than_is_expected_is_refused_unread(file):
    with file.open('r+b') as opened:
        opened.truncate(1 << 40)
    with pytest.raises(UntrustedFile, match='1099511627776 bytes, 9'):
        read_trusted(file, None, 9)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe, 0o600)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_trusted, pipe, None, 9)
        try:
            error = reading.exception(timeout=60)
        finally:
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # frees one that waits
    assert isinstance(error, OSError)
    assert 'ordinary file' in str(error)


def test_the_lock_names_its_holder_and_whom_it_waits_for_once(tmp_path):
    (tmp_path / '.lock').write_text('1234567890123')  # of a process with a longer number
    said = []
    first, second, third = (
        folder_lock(tmp_path, said.append, timeout_s=0.15) for _ in range(3))
    with first:
        assert (tmp_path / '.lock').read_text() == str(os.getpid())
        before = os.listdir('/proc/self/fd')
        with pytest.raises(BackendError, match=f'process {os.getpid()}'), second:
            pass
        assert len(os.listdir('/proc/self/fd')) == len(before)
    line, = said
    assert f'process {os.getpid()}' in line
    assert str(tmp_path) in line
    with third:
        pass


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / 'mine').write_text('a diary')
    (tmp_path / '.lock').symlink_to(tmp_path / 'mine')
    with pytest.raises(OSError, match='symbolic links'), \
            folder_lock(tmp_path, print, timeout_s=0):
        pass
    assert (tmp_path / 'mine').read_text() == 'a diary'


def test_what_was_written_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    steps = []

    def noted(name, really):
        return lambda *arguments: steps.append(name) or really(*arguments)

    for name in ('fsync', 'replace'):
        monkeypatch.setattr(engine_files.os, name, noted(name, getattr(os, name)))
    write_atomically(tmp_path / 'plan', b'code')
    assert steps == ['fsync', 'replace']
    assert [one.name for one in tmp_path.iterdir()] == ['plan']


def test_folders_are_made_for_their_owner_alone(tmp_path):
    prepare_folder(tmp_path / 'engines')
    assert (tmp_path / 'engines').stat().st_mode & 0o777 == 0o700
    (tmp_path / 'engines').chmod(0o770)
    with pytest.raises(UntrustedFile, match='chmod go-w'):
        prepare_folder(tmp_path / 'engines')
