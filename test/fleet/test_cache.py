"""Copies of bags from stores: made once, whole, and no more than fit."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

from fleets.fleet_drives import write_drive
import pytest

from resnet_trt_node.errors import UsageError
import zstandard

cache = pytest.importorskip('resnet_trt_node.fleet.cache', exc_type=Exception)


@pytest.fixture
def bags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the addresses of four bags of 1000 bytes; copies go to another folder."""
    (tmp_path / 'copies').mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'copies'))
    found = []
    for number in range(4):
        folder = tmp_path / 'store' / f'drive{number}'
        (folder / 'more').mkdir(parents=True)
        (folder / 'metadata.yaml').write_bytes(b'm' * 400)
        (folder / 'more' / 'part.mcap').write_bytes(bytes([number]) * 600)
        found.append(f'file://{folder}')
    return found


def copies(tmp_path: Path) -> list[str]:
    """Return the names of the bags of which there are copies."""
    return sorted(path.parent.name for path in (tmp_path / 'copies').rglob('metadata.yaml'))


def test_a_bag_is_copied_once_with_its_name(bags, tmp_path):
    with cache.local_bag(bags[2], 10_000) as path:
        assert path.name == 'drive2'
        assert (path / 'more' / 'part.mcap').read_bytes() == bytes([2]) * 600
    (path / 'more' / 'part.mcap').write_bytes(b'seen')
    with cache.local_bag(bags[2], 10_000) as again:
        assert (again / 'more' / 'part.mcap').read_bytes() == b'seen'


def test_a_bag_that_changed_is_copied_again(bags, tmp_path):
    with cache.local_bag(bags[0], 10_000) as path:
        pass
    (Path(bags[0].removeprefix('file://')) / 'metadata.yaml').write_bytes(b'new')
    with cache.local_bag(bags[0], 10_000) as path:
        assert (path / 'metadata.yaml').read_bytes() == b'new'


def test_a_single_file_is_a_bag_too(bags):
    with cache.local_bag(f'{bags[1]}/more/part.mcap', 10_000) as path:
        assert path.read_bytes() == bytes([1]) * 600


def test_what_was_used_longest_ago_makes_room_unless_it_is_in_use(bags, tmp_path):
    with cache.local_bag(bags[0], 2500):
        for bag in bags[1:]:
            with cache.local_bag(bag, 2500):
                pass
            assert copies(tmp_path) == ['drive0', bag[-6:]]
        with cache.local_bag(bags[3], 2500), \
                pytest.raises(OSError, match='in use leave no room'), \
                cache.local_bag(bags[1], 2500):
            pass


def test_a_bag_in_use_is_given_to_another(bags):
    """Neither waits for the other: both may read it."""
    opened = Event()

    def read() -> None:
        with cache.local_bag(bags[0], 10_000):
            opened.set()
    with cache.local_bag(bags[0], 10_000):
        other = Thread(target=read, daemon=True)
        other.start()
        assert opened.wait(60)
    other.join(60)


def test_a_bag_that_never_fits_is_an_error(bags):
    with pytest.raises(UsageError, match='raise it, or divide the bag'), \
            cache.local_bag(bags[0], 999):
        pass


def test_what_a_killed_process_left_is_removed(bags, tmp_path):
    with cache.local_bag(bags[0], 10_000) as path:
        left = path.parent.parent / 'part.killed'
        left.mkdir()
    with cache.local_bag(bags[1], 10_000):
        assert not left.exists()


@pytest.mark.slow
def test_what_a_process_unpacked_is_removed_though_it_was_killed(tmp_path, monkeypatch):
    pytest.importorskip('ray', reason='Ray is missing: pip install .[fleet]')
    from resnet_trt_node.fleet.tasks import _OpenBags
    file, = write_drive(tmp_path / 'drive', 4).glob('*.mcap')
    packed = tmp_path / 'drive.mcap.zstd'
    packed.write_bytes(zstandard.compress(file.read_bytes()))
    copies = tmp_path / 'copies'
    copies.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(copies))
    # Never closed, as by a process that Ray ends.
    opened = _OpenBags()
    job: Any = SimpleNamespace(key='one', cache_bytes=0)
    assert opened.get(job, str(packed)).image_count() == 6
    assert [path.name for path in copies.iterdir()] == ['fleet.one']
    assert len(list(copies.rglob('drive.mcap'))) == 1
    cache.remove_scratch('one')
    cache.remove_scratch('another')
    assert list(copies.iterdir()) == []


def test_a_store_that_cannot_be_read_is_an_error_that_is_tried_again(bags, monkeypatch):
    from fsspec.implementations.local import LocalFileSystem

    def lost(*arguments: object, **options: object) -> None:
        raise RuntimeError('connection reset')
    monkeypatch.setattr(LocalFileSystem, 'get_file', lost)
    # Ray tries again what is an OSError.
    with pytest.raises(OSError, match=r'cannot copy .*: connection reset'), \
            cache.local_bag(bags[0], 10_000):
        pass
    monkeypatch.undo()
