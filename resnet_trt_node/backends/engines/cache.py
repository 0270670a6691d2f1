"""
Compiled engines on disk: found by what they were built from, trusted only when unchanged.

An engine is machine code that the runtime executes, and building one takes a minute, so a file is
used only if it is exactly what was stored. Beside `NAME-DIGEST.engine` lies `NAME-DIGEST.json`,
which says in words what the digest stands for, with the sha256 and the owner of the engine and
the class names, under a digest of its own.
Both are written under another name and renamed. One process builds at a time, so that two never
build the same engine and never disturb each other's timing. Nothing here knows TensorRT.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
import os
from pathlib import Path
import time
from typing import Callable, Optional

from resnet_trt_node.backends.engines.files import (
    folder_lock, prepare_folder, read_trusted, sha256_of, UntrustedFile, write_atomically)
from resnet_trt_node.backends.engines.key import EngineKey
from resnet_trt_node.backends.engines.side_file import EngineSide
from resnet_trt_node.contract.sparsity import SparseBuild
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import BackendError, BackendUnavailable
from resnet_trt_node.user_folders import user_cache

_MAX_TIMING_BYTES = 1 << 30
#: Half-written files that are older than this are left from a process that was killed.
_STALE_S = 600.0
#: File names end at 255 bytes, and the digest and the endings need some of them.
_MAX_STEM_BYTES = 200

Log = Callable[[str], None]


@dataclass(frozen=True)
class BuiltEngine:
    """
    An engine, as a build yields it or as it was stored.

    :param plan: the serialised engine; from the cache, checked.
    :param spec: the contract of the model that it was built from.
    :param timing_cache: kernel timings for the next build, b'' for none.
    :param sparsity: what came of sparse weights, None if they were not asked for.
    :param path: where it lies, None if it could not be stored.
    :param reason: why it was built, '' if it was found.
    :param build_s: seconds that building took, whenever that was.
    :param builder: version that built it, '' if none but that runs it.
    """

    plan: bytes
    spec: ModelSpec
    timing_cache: bytes = b''
    sparsity: Optional[SparseBuild] = None
    path: Optional[Path] = None
    reason: str = ''
    build_s: float = 0.0
    builder: str = ''

    @property
    def details(self) -> dict[str, str]:
        """Return what a backend shows of it, name to text."""
        return {
            'precision': self.spec.precision,
            'engine': str(self.path) if self.path else 'in memory only',
            **({'engine_built_by': self.builder} if self.builder else {}),
            'engine_built_because': self.reason or 'it was not, it was found',
            'engine_build_s': f'{self.build_s:.1f}'}


#: Builds an engine; takes the timing cache, b'' for none.
BuildFunction = Callable[[bytes], BuiltEngine]


def default_engine_dir() -> Path:
    """Return the user's folder for engines, by the XDG rules."""
    return user_cache() / 'engines'


class EngineCache:
    """
    A folder of engines.

    :param folder: made with mode 0700 when first needed; None is `default_engine_dir`.
    :param log: takes a line for each thing worth knowing.
    :param lock_timeout_s: how long to wait for another process that is building.
    """

    def __init__(
            self, folder: Optional[Path], log: Log, lock_timeout_s: float = 3600.0) -> None:
        self.folder = default_engine_dir() if folder is None else Path(folder)
        self._log = log
        self._lock_timeout_s = lock_timeout_s
        self._quarantined_because = ''
        #: Engines that were refused and could not be quarantined.
        self._refused: list[bytes] = []

    def path_of(self, key: EngineKey) -> Path:
        """Return where the engine of a key lies, whether or not it is there."""
        stem = key.stem.encode('utf-8', 'ignore')[:_MAX_STEM_BYTES].decode('utf-8', 'ignore')
        return self.folder / f'{stem}-{key.digest()[:20]}.engine'

    def get(
            self, key: EngineKey, build: BuildFunction, force: bool = False,
            must_store: bool = False) -> BuiltEngine:
        """
        Return the engine of a key, building it if need be.

        :param key: what the engine is to be.
        :param build: called at most once.
        :param force: build even if there is one.
        :param must_store: a folder that cannot be written is an error; otherwise it is logged
            and the engine lives in memory alone.
        :raises BackendError: if it must be stored and cannot be, or if another process holds the
            folder for too long; errors of `build` pass through.
        """
        with ExitStack() as lock:
            try:
                prepare_folder(self.folder)
                found = None if force else self._find(key)
                if found is not None:
                    return found
                lock.enter_context(folder_lock(self.folder, self._log, self._lock_timeout_s))
            except (UntrustedFile, OSError) as error:
                problem = str(error) if isinstance(error, UntrustedFile) else (
                    f'cannot make or write to the engine folder {self.folder} '
                    f'({error.strerror or error}): make it writable or choose another one')
                self._cannot_store(problem, error, must_store)
                return _timed(build, b'', f'not stored: {problem}')
            return self._build_locked(key, build, force, must_store)

    def find(self, key: EngineKey) -> BuiltEngine:
        """
        Return the stored engine of a key, where none can be built.

        :raises BackendUnavailable: with the reason, if there is none or it cannot be trusted.
        """
        path = self.path_of(key)
        try:
            prepare_folder(self.folder)
            if not path.exists():
                raise BackendUnavailable(self._why_missing(key))
            return _read_engine(path, key)
        except (UntrustedFile, OSError) as error:
            raise BackendUnavailable(f'{path} cannot be used: {error}') from error

    def reject(self, key: EngineKey, engine: BuiltEngine, why: str) -> None:
        """
        Move an engine aside that the runtime refused, so that the next `get` builds anew.

        The timings go too, unless they are another builder's: they would lead to the very same
        engine. Nothing is moved
        if another process did so, or has put another engine there meanwhile, or if the engine
        lives in memory only. Where the folder cannot be written, this object alone passes over
        the engine from now on.

        :raises BackendError: if another process holds the folder for too long.
        """
        if engine.path is None:
            return
        try:
            with folder_lock(self.folder, self._log, self._lock_timeout_s):
                stored = self._find(key)
                if stored is not None and stored.plan == engine.plan:
                    self._move_aside(engine.path, why)
                    if engine.builder in ('', key.builder):
                        _move_to_bad(self._timing_path(key))
        except OSError as error:
            self._refused.append(engine.plan)
            self._log(f'{engine.path} cannot be used, nor quarantined '
                      f'({error.strerror or error}): have it deleted, or choose another folder')

    def _cannot_store(self, problem: str, cause: Exception, must_store: bool) -> None:
        if must_store:
            raise BackendError(problem) from cause
        self._log(f'{problem}; the engine lives in memory only')

    def _build_locked(
            self, key: EngineKey, build: BuildFunction, force: bool,
            must_store: bool) -> BuiltEngine:
        reason = 'a rebuild was asked for'
        if not force:
            # Another process may have built it while this one waited for the lock.
            found = self._find(key, move_aside=True)
            if found is not None:
                return found
            reason = self._quarantined_because or self._why_missing(key)
            self._quarantined_because = ''
        # Whoever writes here holds the lock.
        for stale in self.folder.glob('.*.tmp'):
            with suppress(FileNotFoundError):
                if time.time() - stale.stat().st_mtime > _STALE_S:
                    stale.unlink()
        self._log(f'building {self.path_of(key).name}: {reason}')
        built = _timed(build, self._read_timing(key), reason)
        try:
            self._store(key, built)
        except OSError as error:
            # A minute of work is not thrown away because the disk is full.
            self._cannot_store(
                f'cannot store the engine in {self.folder} ({error.strerror or error}): '
                'free some space or choose another folder', error, must_store)
            return built
        return replace(built, path=self.path_of(key))

    def _find(self, key: EngineKey, move_aside: bool = False) -> Optional[BuiltEngine]:
        """Return the stored engine if it is there and unchanged; a bad one may be quarantined."""
        path = self.path_of(key)
        try:
            if not path.with_suffix('.json').exists() or not path.exists():
                return None
            found = _read_engine(path, key)
            return None if found.plan in self._refused else found
        except PermissionError as error:
            self._log(f'{error.filename} cannot be read, so what was built there is not used: '
                      f'have its owner run chmod -R go+rX {self.folder}')
            return None
        except (UntrustedFile, OSError) as error:
            # Without the lock this can be a reader between the writer's two renames.
            if move_aside:
                self._move_aside(path, str(error))
            return None

    def _move_aside(self, path: Path, why: str) -> None:
        self._log(f'{path} cannot be used and is quarantined as {path.name}.bad: {why}')
        for file in (path, path.with_suffix('.json')):
            _move_to_bad(file)
        self._quarantined_because = f'the stored engine was quarantined: {why}'

    def _store(self, key: EngineKey, built: BuiltEngine) -> None:
        path = self.path_of(key)
        side = EngineSide(
            key, sha256_of(built.plan), len(built.plan), os.geteuid(), built.spec, built.build_s,
            built.sparsity)
        write_atomically(path, built.plan)
        write_atomically(path.with_suffix('.json'), side.to_bytes())
        if built.timing_cache:
            write_atomically(self._timing_path(key), built.timing_cache)

    def _timing_path(self, key: EngineKey) -> Path:
        return self.folder / f'timing-{key.machine_digest()[:20]}.cache'

    def _read_timing(self, key: EngineKey) -> bytes:
        try:
            return read_trusted(self._timing_path(key), os.geteuid(), _MAX_TIMING_BYTES)
        except FileNotFoundError:
            return b''
        except (UntrustedFile, OSError) as error:
            self._log(f'the timing cache is not used: {error}')
            return b''

    def _why_missing(self, key: EngineKey) -> str:
        """Say what differs from the stored engine that is nearest to the wanted one."""
        differences = []
        for path in self.folder.glob('*.json'):
            # What cannot be read is checked in full when its own engine is wanted.
            with suppress(UntrustedFile, OSError):
                other = EngineSide.read(path).key
                if key.model_sha256 == other.model_sha256 or key.stem == other.stem:
                    differences.append(key.differences(other))
        if not differences:
            return 'the first engine of this model here'
        nearest = min(differences, key=len)
        return '; '.join(nearest) or 'its engine is missing or was quarantined'


def _timed(build: BuildFunction, timing_cache: bytes, reason: str) -> BuiltEngine:
    start = time.monotonic()
    built = build(timing_cache)
    return replace(built, reason=reason, build_s=time.monotonic() - start)


def _move_to_bad(path: Path) -> None:
    with suppress(FileNotFoundError):
        os.replace(path, path.with_name(path.name + '.bad'))


def _read_engine(path: Path, key: EngineKey) -> BuiltEngine:
    side = EngineSide.read(path.with_suffix('.json'))
    plan = read_trusted(path, side.owner_uid, side.plan_bytes)
    if len(plan) != side.plan_bytes:
        raise UntrustedFile(
            f'it has {len(plan)} bytes, {side.plan_bytes} were written: it was cut off')
    if sha256_of(plan) != side.plan_sha256:
        raise UntrustedFile('its sha256 is not the recorded one: it was altered')
    if side.key != key:
        raise UntrustedFile('its side file describes another engine')
    return BuiltEngine(
        plan, side.spec, sparsity=side.sparsity, path=path, build_s=side.build_s,
        builder=side.key.builder)
