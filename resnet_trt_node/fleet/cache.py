"""Copies of bags on the disk of the machine that reads them: from stores, and unpacked ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack, suppress
import fcntl
from hashlib import sha256
import os
from pathlib import Path
import shutil
from tempfile import gettempdir, TemporaryDirectory
from typing import Any

from resnet_trt_node.errors import UsageError
from resnet_trt_node.fleet.bags import is_address, open_store
from resnet_trt_node.text.printable import one_line


class StoreError(OSError):
    """A store that could not be read; Ray tries again, as for other errors of reading."""


@contextmanager
def local_bag(name: str, limit_bytes: int) -> Iterator[Path]:
    """
    Give the local path of a bag, whose copy stays in use until the block ends.

    :param name: a path, or an address that is copied if there is no copy.
    :param limit_bytes: of all copies on this machine; those that were used last stay.
    :raises StoreError: if the store cannot be read.
    :raises UsageError: if the bag alone is larger than the limit.
    :raises OSError: if there is no room for the copy.
    """
    if not is_address(name):
        yield Path(name)
        return
    files = _files(name)
    size = sum(one['size'] or 0 for _, one in files)
    if size > limit_bytes:
        raise UsageError(
            f'{name} has {size / 2**30:.1f} GiB, more than --cache-gib allows: raise it, or '
            'divide the bag')
    # Another content at the same address is another bag.
    digest = sha256(repr((name, [
        (path, one['size'], str(one.get('ETag') or one.get('etag') or one.get('mtime')))
        for path, one in files])).encode()).hexdigest()[:32]
    root = Path(gettempdir()) / f'resnet_trt_fleet.{os.getuid()}'
    root.mkdir(mode=0o700, exist_ok=True)
    entry = root / digest
    with ExitStack() as stack:
        lock = stack.enter_context(open(root / f'{digest}.lock', 'a'))
        while True:
            # Several may read it; who removes copies needs it alone.
            fcntl.flock(lock, fcntl.LOCK_SH)
            if entry.exists():
                break
            fcntl.flock(lock, fcntl.LOCK_UN)
            _copy(root, lock, files, entry, limit_bytes)
        os.utime(entry)
        yield entry / Path(name.rstrip('/')).name


def scratch_folder(key: str) -> Path:
    """
    Return the folder of this machine where the processes of a run unpack bags.

    Ray ends them without a word, and so they do not remove what is in it.

    :param key: of the run.
    """
    return Path(gettempdir()) / f'fleet.{key}'


def remove_scratch(key: str) -> None:
    """Remove the folder of a run where bags were unpacked, if there is one."""
    shutil.rmtree(scratch_folder(key), ignore_errors=True)


def _files(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the files of a bag: their paths below its parent folder, and what the store says."""
    try:
        store, path = open_store(name)
        parent = path.rstrip('/').rpartition('/')[0]
        found = store.find(path, detail=True)
        # A folder may have subfolders that are no part of the bag.
        return [(one.removeprefix(parent).lstrip('/'), {**info, 'store': store, 'path': one})
                for one, info in sorted(found.items())]
    except Exception as error:  # noqa: B902  each store has errors of its own
        raise StoreError(f'cannot read {name}: {one_line(error)}') from error


def _copy(
        root: Path, lock: Any, files: list[tuple[str, dict[str, Any]]], entry: Path,
        limit_bytes: int) -> None:
    """Copy a bag, unless another process has done so meanwhile."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not entry.exists():
        # One copy at a time, or together they would take more room than there is.
        with open(root / 'copying.lock', 'a') as copying:
            fcntl.flock(copying, fcntl.LOCK_EX)
            _make_room(root, sum(one['size'] or 0 for _, one in files), limit_bytes)
            _download(files, entry)
    fcntl.flock(lock, fcntl.LOCK_UN)


def _download(files: list[tuple[str, dict[str, Any]]], entry: Path) -> None:
    with TemporaryDirectory(prefix='part.', dir=entry.parent) as folder:
        for relative, info in files:
            target = Path(folder) / 'bag' / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                info['store'].get_file(info['path'], str(target))
            except OSError as error:
                raise StoreError(
                    error.errno, f'cannot copy {info["path"]}: {one_line(error)}') from error
            except Exception as error:  # noqa: B902  each store has errors of its own
                raise StoreError(f'cannot copy {info["path"]}: {one_line(error)}') from error
            if info['size'] is not None and target.stat().st_size != info['size']:
                raise StoreError(f'{info["path"]} ended early: the store has more of it')
        os.rename(Path(folder) / 'bag', entry)


def _make_room(root: Path, size: int, limit_bytes: int) -> None:
    """Remove the copies that were used longest ago and are not in use."""
    for part in root.glob('part.*'):
        # Of a process that was killed while it copied.
        shutil.rmtree(part, ignore_errors=True)
    entries = sorted((one for one in root.iterdir() if one.is_dir()), key=_used)
    sizes = {one: sum(file.stat().st_size for file in one.rglob('*') if file.is_file())
             for one in entries}
    total = sum(sizes.values())
    for one in entries:
        if total + size <= limit_bytes:
            return
        with open(root / f'{one.name}.lock', 'a') as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(one, ignore_errors=True)
            total -= sizes[one]
    if total + size > limit_bytes:
        raise StoreError(
            f'the copies in {root} that are in use leave no room for another of '
            f'{size / 2**30:.1f} GiB: raise --cache-gib')


def _used(entry: Path) -> float:
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0
