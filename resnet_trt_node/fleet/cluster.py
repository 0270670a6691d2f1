"""Ray itself, started here or reached elsewhere, and as many model actors as it has room for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
import logging
import os
import shutil
from tempfile import mkdtemp
from typing import Any, Mapping, Optional

from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.backends.factory import options_of
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import BackendUnavailable, UsageError
from resnet_trt_node.fleet.actor import Model, ModelActor
from resnet_trt_node.fleet.extra import needs_fleet_extra
from resnet_trt_node.printable import one_line

with needs_fleet_extra():
    import ray

#: How often Ray tries again what its process or machine did not survive, or could not read.
RETRIES = 3
#: Shares of a core: an actor on the CPU and its readers take one together, since each waits for
#: the other; beside a GPU a reader waits half of its time at most.
_ACTOR_CORES, _CPU_READER_CORES, _GPU_READER_CORES = 0.5, 0.25, 0.5
#: Of a Ray that is started here; more is spilled to disk. Rows of batches take little of it.
_STORE_BYTES = 2**30
#: Backends that compute on the CPU.
_CPU_BACKENDS = ('onnxruntime', 'simulated', 'tvm')


@dataclass(frozen=True)
class Cluster:
    """
    A running Ray.

    :param dashboard: address of its dashboard, '' without one.
    :param cores: number of them.
    :param gpus: number of them.
    """

    dashboard: str
    cores: float
    gpus: float


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
    try:
        url = ''
        if started:
            os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
            os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
            options: dict[str, Any] = {}
            if address == 'local':
                # Short, since the paths of sockets are.
                folder = mkdtemp(prefix='fleet.')
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
        resources = ray.cluster_resources()
        yield Cluster(url, resources.get('CPU', 0.0), resources.get('GPU', 0.0))
    finally:
        if started:
            ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class ModelActors:
    """
    The model actors of a run.

    :param handles: of Ray, with the id of the node of each.
    :param model: their model.
    :param spec: of their model.
    :param info: who computes.
    :param readers: how many units are read at the same time.
    :param reader_cores: share of a core of each.
    """

    handles: tuple[tuple[Any, str], ...]
    model: Model
    spec: ModelSpec
    info: BackendInfo
    readers: int
    reader_cores: float


@contextmanager
def model_actors(
        cluster: Cluster, model: bytes, name: str,
        options: Mapping[str, Any]) -> Iterator[ModelActors]:
    """
    Start model actors, on each GPU or, without any, on each core; they end with the block.

    :param cluster: where.
    :param model: content of the deployable ONNX file.
    :param name: its name, for errors.
    :param options: arguments of `open_backend`; those that open on the CPU get one thread unless
        they say more.
    :raises ResnetTrtError: if the model cannot be opened.
    """
    on_gpus = cluster.gpus >= 1 and options['name'].partition(':')[0] not in _CPU_BACKENDS
    threads = options.get('threads') or 1
    number = int(cluster.gpus) if on_gpus else max(1, int(cluster.cores) // threads)
    if not on_gpus and 'threads' in options_of(options['name'].partition(':')[0]):
        options = {**options, 'threads': threads}
    actor = ray.remote(ModelActor).options(
        num_cpus=_ACTOR_CORES if on_gpus else _ACTOR_CORES * threads,
        num_gpus=int(on_gpus), max_restarts=-1, max_task_retries=RETRIES)
    content = (ray.put(model),)
    handles = [actor.remote(name, options) for _ in range(number)]
    try:
        spec, info = _unwrapped([one.describe.remote(content) for one in handles])[0]
        nodes = _unwrapped([one.node.remote() for one in handles])
        share = _GPU_READER_CORES if on_gpus else _CPU_READER_CORES
        left = cluster.cores - number * _ACTOR_CORES * (1 if on_gpus else threads)
        yield ModelActors(
            tuple(zip(handles, nodes)), content, spec, info, max(1, int(left / share)), share)
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
