"""Ray itself, started here or reached elsewhere, and as many model actors as it has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
import logging
from math import floor
import os
import shutil
from tempfile import gettempdir, mkdtemp
from typing import Any, Mapping, Optional
from uuid import uuid4

from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.factory import options_of
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import BackendUnavailable, UsageError
from resnet_trt_node.fleet.actor import Model, ModelActor
from resnet_trt_node.fleet.cache import remove_scratch
from resnet_trt_node.fleet.extra import needs_fleet_extra
from resnet_trt_node.text.printable import one_line

with needs_fleet_extra():
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

#: How often Ray tries again what its process or machine did not survive, or could not read.
RETRIES = 3
#: Shares of a core: an actor on the CPU and its readers take one together, since each waits for
#: the other; beside a GPU a reader waits half of its time at most.
_ACTOR_CORES, _CPU_READER_CORES, _GPU_READER_CORES = 0.5, 0.25, 0.5
#: Of a Ray that is started here; more is spilled to disk. Two batches of each reader are in it,
#: rows of 150 KB or `batch.MOST_BYTES` of jpegs at most.
_STORE_BYTES = 2**31
#: Backends that compute on the CPU.
_CPU_BACKENDS = ('onnxruntime', 'simulated', 'tvm')
#: Ray's smallest share of a core.
_SMALLEST_SHARE = 1e-4
#: After so long it is said what Ray waits for.
PATIENCE_S = 30.0
_REMOVAL_S = 20.0
#: Of the 107 bytes of a socket's path Ray takes 64, and the name of the folder in TMPDIR 15.
_LONGEST_TMPDIR = 28


@dataclass(frozen=True)
class Cluster:
    """
    A running Ray.

    :param key: of the run on it, unique; what its processes unpack is removed at its end.
    :param dashboard: address of its dashboard, '' without one.
    :param machines: numbers of cores and of GPUs of each.
    """

    key: str
    dashboard: str
    machines: Sequence[tuple[float, float]]


@contextmanager
def connected(address: str, store_bytes: int = _STORE_BYTES) -> Iterator[Cluster]:
    """
    Reach a Ray, or start one that ends with the block; one that runs in this process is taken.

    :param address: 'local' starts one; else as for `ray.init`, such as 'auto' or
        'ray://head:10001'.
    :param store_bytes: of the object store of one that is started.
    :raises UsageError: if there is none at the address.
    """
    folder: Optional[str] = None
    started = not ray.is_initialized()
    key = uuid4().hex
    try:
        url = ''
        if started:
            os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
            os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
            options: dict[str, Any] = {}
            if address == 'local':
                folder = mkdtemp(prefix='fleet.', dir=_folder_of_ray())
                options = {
                    '_temp_dir': folder, 'object_store_memory': store_bytes,
                    # It needs ray[default].
                    'include_dashboard': find_spec('aiohttp_cors') is not None}
            try:
                context = ray.init(
                    address, log_to_driver=False, logging_level=logging.ERROR, **options)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise UsageError(
                    f'no Ray at {address}: {one_line(error)}: check --address, and that the '
                    'cluster runs the same versions of Ray and Python') from error
            url = context.dashboard_url or ''
        found = [one['Resources'] for one in ray.nodes() if one['Alive']]
        yield Cluster(key, url, [(one.get('CPU', 0.0), one.get('GPU', 0.0)) for one in found])
    finally:
        if folder is None and ray.is_initialized():
            _remove_scratch(key)
        if started:
            ray.shutdown()
        remove_scratch(key)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _folder_of_ray() -> Optional[str]:
    """Return where a Ray that is started here has its folder; None for TMPDIR."""
    return '/tmp' if len(os.fsencode(gettempdir())) > _LONGEST_TMPDIR else None


def _remove_scratch(key: str) -> None:
    """Remove what a run has unpacked, on all machines; one that does not answer keeps it."""
    with suppress(ray.exceptions.RayError, OSError, RuntimeError, ValueError):
        removed = [
            ray.remote(remove_scratch).options(
                num_cpus=0, max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(one['NodeID'], soft=False),
            ).remote(key) for one in ray.nodes() if one['Alive']]
        ray.wait(removed, num_returns=len(removed), timeout=_REMOVAL_S)


@dataclass(frozen=True)
class ModelActors:
    """
    The model actors of a run.

    :param handles: of Ray, with the id of the node of each, and who computes there.
    :param model: their model.
    :param spec: of their model.
    :param readers: how many units are read at the same time.
    :param reader_cores: share of a core of each.
    """

    handles: tuple[tuple[Any, str, BackendInfo], ...]
    model: Model
    spec: ModelSpec
    readers: int
    reader_cores: float

    @property
    def info(self) -> BackendInfo:
        """Return who computes where the first of them runs."""
        return self.handles[0][2]


@dataclass(frozen=True)
class Shares:
    """
    How the cores are shared.

    :param actors: number of model actors.
    :param actor_cores: share of a core, or several, of each.
    :param readers: number of readers.
    :param reader_cores: share of a core of each.
    """

    actors: int
    actor_cores: float
    readers: int
    reader_cores: float


def share_cores(
        machines: Sequence[tuple[float, float]], on_gpus: bool, threads: int) -> Shares:
    """
    Share the cores so that every actor has room, and a reader beside it.

    An actor's share is what Ray counts; it may have more threads than that.

    :param machines: numbers of cores and of GPUs of each.
    :param on_gpus: whether there is an actor on each GPU; else on each `threads` cores.
    :param threads: of an actor on the CPU.
    :raises UsageError: if no machine has room.
    """
    reader = _GPU_READER_CORES if on_gpus else _CPU_READER_CORES
    # Ray may keep a machine without cores, such as the head of a cluster, for itself.
    usable = [(cores, int(gpus)) for cores, gpus in machines
              if cores > reader and (gpus >= 1 or not on_gpus)]
    if not usable:
        raise UsageError(
            f'no machine of Ray has {"a GPU and " if on_gpus else ""}more than {reader} cores: '
            'check --num-cpus of `ray start`, or give --address local')
    if on_gpus:
        number = sum(gpus for _, gpus in usable)
        share = min(_ACTOR_CORES, *((cores - reader) / gpus for cores, gpus in usable))
    else:
        number = sum(int(cores) // threads for cores, _ in usable)
        share = _ACTOR_CORES * threads
        if not number:
            number, share = 1, min(share, max(cores for cores, _ in usable) - reader)
    share = floor(share / _SMALLEST_SHARE) * _SMALLEST_SHARE
    left = sum(cores for cores, _ in machines) - number * share
    return Shares(number, share, max(1, int(left / reader)), reader)


def what_is_free() -> str:
    """Return in words what Ray has free."""
    free = ray.available_resources()
    return f'{free.get("CPU", 0.0):g} cores and {free.get("GPU", 0.0):g} GPUs are free'


@contextmanager
def model_actors(
        cluster: Cluster, model: bytes, name: str, options: Mapping[str, Any],
        log: Callable[[str], None]) -> Iterator[ModelActors]:
    """
    Start model actors, on each GPU or, without any, on each core; they end with the block.

    :param cluster: where.
    :param model: content of the deployable ONNX file.
    :param name: its name, for errors.
    :param options: arguments of `open_backend`; those that open on the CPU get one thread unless
        they say more.
    :param log: called with what Ray waits for, if that takes long.
    :raises ResnetTrtError: if the model cannot be opened, or has room nowhere.
    """
    backend = options['name'].partition(':')[0]
    on_gpus = backend not in _CPU_BACKENDS and any(gpus >= 1 for _, gpus in cluster.machines)
    threads = options.get('threads') or 1
    shares = share_cores(cluster.machines, on_gpus, threads)
    if not on_gpus and 'threads' in options_of(backend):
        options = {**options, 'threads': threads}
    actor = ray.remote(ModelActor).options(
        num_cpus=shares.actor_cores, num_gpus=int(on_gpus),
        max_restarts=-1, max_task_retries=RETRIES)
    content = (ray.put(model),)
    handles = [actor.remote(name, options) for _ in range(shares.actors)]
    try:
        opened = [one.describe.remote(content) for one in handles]
        _, left = ray.wait(opened, num_returns=len(opened), timeout=PATIENCE_S)
        if left:
            log(f'waiting for {len(left)} of {len(opened)} model actors: each needs '
                f'{shares.actor_cores:g} cores{" and a GPU" if on_gpus else ""}, and opens the '
                f'model, which may build an engine; {what_is_free()}')
        found = _unwrapped(opened)
        nodes = _unwrapped([one.node.remote() for one in handles])
        yield ModelActors(
            tuple(zip(handles, nodes, (info for _, info in found))), content, found[0][0],
            shares.readers,
            shares.reader_cores)
    finally:
        for one in handles:
            ray.kill(one)


def _unwrapped(answers: list[Any]) -> list[Any]:
    """Return what actors answered, or raise the error itself."""
    try:
        found: list[Any] = ray.get(answers)
        return found
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise BackendUnavailable(
            f'Ray cannot start a process for the model: {one_line(error)}: check memory '
            'and GPUs of its machines') from error
