"""
Products that take long to make: made once for all workers of a run, kept between a developer's.

They lie in .pytest_cache, which `pytest --cache-clear` empties; a build server, which sets CI,
makes each anew. What changes a product is the package, the tests' helpers and a few libraries.
"""

from __future__ import annotations

import fcntl
import hashlib
from importlib.metadata import PackageNotFoundError, version
import os
from pathlib import Path
import shutil
import tempfile
import time
from typing import Callable

import pytest
from repository import HELPERS, REPOSITORY

_LIBRARIES = (
    'numpy', 'onnx', 'onnxruntime', 'torch', 'apache-tvm', 'opencv-python-headless', 'pillow')
#: A product of other sources that may still be in use by another run of the tests is left alone.
_OLD_SEC = 24 * 3600.0


class Kept:
    """
    Makes products or finds them.

    :param folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def engines(self, name: str) -> Path:
        """Return a folder of engines; the backends build what is missing, one process each."""
        return self(name, lambda folder: None)

    def __call__(self, name: str, make: Callable[[Path], object], *sources: Path) -> Path:
        """
        Return a folder that is made at most once; no test may write into it afterwards.

        :param name: one word, different from those of others.
        :param make: fills an empty folder.
        :param sources: files outside the package and the helpers that it depends on.
        """
        # Engines are refused where others may write.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._folder / f'{name}-{_digest(sources)}'
        with (self._folder / f'{name}.lock').open('w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                for old in self._folder.glob(f'{name}-*'):
                    if time.time() - old.stat().st_mtime > _OLD_SEC:
                        shutil.rmtree(old)
                # A command that an interrupted run left behind may still write into its own.
                new = Path(tempfile.mkdtemp(prefix=f'{name}-new-', dir=self._folder))
                make(new)
                new.rename(folder)
        return folder


def folder_of(config: pytest.Config, basetemp: Path) -> Path:
    """Return where products lie: the cache of pytest, or what all workers of this run share."""
    cache = getattr(config, 'cache', None)  # none with `-p no:cacheprovider`
    if cache is None or os.environ.get('CI'):
        worker = os.environ.get('PYTEST_XDIST_WORKER')
        return (basetemp.parent if worker else basetemp) / 'kept'
    return Path(cache.mkdir('kept'))


def _digest(sources: tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for name in _LIBRARIES:
        try:
            digest.update(f'{name} {version(name)}\n'.encode())
        except PackageNotFoundError:
            digest.update(f'{name} is missing\n'.encode())
    package = [*(REPOSITORY / 'resnet_trt_node').rglob('*.py'), *HELPERS.rglob('*.py')]
    for path in sorted(package) + list(sources):
        digest.update(f'{path.relative_to(REPOSITORY)}\n'.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
