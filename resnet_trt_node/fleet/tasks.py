"""What Ray runs, in any process and again after a crash: planning a bag, answering a unit."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence

from resnet_trt_node import __version__
from resnet_trt_node.allocator import configure_allocator
from resnet_trt_node.backends.base import BackendInfo
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import InferenceError, ResnetTrtError
from resnet_trt_node.fleet.actor import Model
from resnet_trt_node.fleet.bags import Bag, is_address
from resnet_trt_node.fleet.cache import local_bag, scratch_folder
from resnet_trt_node.fleet.extra import needs_fleet_extra
from resnet_trt_node.fleet.remote import RemoteBackend
from resnet_trt_node.fleet.table import UnitTable
from resnet_trt_node.fleet.units import Unit, Work

with needs_fleet_extra():
    import ray

#: Bags that a process keeps open: the next unit is mostly of the same one.
_MOST_OPEN = 2


@dataclass(frozen=True)
class Job:
    """
    What all units of a run have in common.

    :param key: of the run, as the `Cluster` has it.
    :param work: what is done with each bag.
    :param actors: Ray's handles of the model actors, with the id of the node of each, and who
        computes there.
    :param content: the model.
    :param spec: of the model.
    :param batch_size: the largest.
    :param model: name of the model's file.
    :param model_sha256: of its content.
    :param cache_bytes: of the copies of bags from stores, on each machine.
    """

    key: str
    work: Work
    actors: tuple[tuple[Any, str, BackendInfo], ...]
    content: Model
    spec: ModelSpec
    batch_size: int
    model: str
    model_sha256: str
    cache_bytes: int


@dataclass(frozen=True)
class Answer:
    """
    What became of a task.

    :param units: of a bag that was planned.
    :param content: the file of a unit that was answered.
    :param images: frames of it.
    :param error: why there is none, if trying again would not help; errors of reading and of the
        machine are raised instead, so that Ray tries again.
    :param warnings: of the bag.
    """

    units: Sequence[Unit] = ()
    content: bytes = b''
    images: int = 0
    error: Optional[str] = None
    warnings: list[str] = field(default_factory=list)


def plan_bag(job: Job, bag: Bag) -> Answer:
    """Divide a bag into units."""
    try:
        reader = _bags.get(job, bag.name)
        return Answer(job.work.plan(reader, bag.drive, bag.name), warnings=reader.warnings)
    except ResnetTrtError as error:
        return _failed(error)


def run_unit(job: Job, unit: Unit, place: int) -> Answer:
    """
    Answer the frames of a unit.

    :param job: the run's.
    :param unit: of one of its bags.
    :param place: a number below that of readers, which no unit in work has as well.
    """
    try:
        # Else every frame's memory is new: that took a third of a reader's time.
        configure_allocator()
        reader = _bags.get(job, unit.bag)
        table = UnitTable({
            'drive': unit.drive, 'bag': unit.bag, 'model': job.model,
            'model_sha256': job.model_sha256, 'software_version': __version__})
        before = len(reader.warnings)
        actor, info = _actor_of(job, place)
        with RemoteBackend(actor, job.content, job.spec, info, job.batch_size) as backend:
            job.work.run(reader, unit, backend, table)
        table.counts.warnings += reader.warnings[before:]
        if not table.counts.add_up:
            return Answer(error=(
                f'{table.counts.frames_in} frames were read, and '
                f'{sum(table.counts.frames.values())} have an outcome: please report this'))
        return Answer(content=table.finish(unit.document()), images=table.counts.frames_in)
    except InferenceError as error:
        # Ray tries again what is an OSError; the actor opens its model again.
        raise OSError(f'the model failed: {error}') from error
    except ResnetTrtError as error:
        return _failed(error)


def _failed(error: ResnetTrtError) -> Answer:
    if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
        # A disk or a store that could not be read; it may be there again.
        raise OSError(str(error)) from error
    return Answer(error=str(error))


def _actor_of(job: Job, place: int) -> tuple[Any, BackendInfo]:
    """Return a model actor of this machine, or any; on one machine all have as many readers."""
    here = ray.get_runtime_context().get_node_id()
    actors = [(one, info) for one, node, info in job.actors if node == here] or [
        (one, info) for one, _, info in job.actors]
    return actors[place % len(actors)]


class _OpenBags:
    """The bags that this process has open."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str], tuple[BagReader, ExitStack]] = OrderedDict()

    def get(self, job: Job, name: str) -> BagReader:
        """
        Return an open bag.

        :raises ResnetTrtError: if it cannot be opened.
        :raises OSError: if it cannot be copied from its store.
        """
        key = (job.key, name)
        if key not in self._open:
            # A copy that is open cannot make room for another.
            most = 1 if is_address(name) else _MOST_OPEN
            while len(self._open) >= most:
                self._open.popitem(last=False)[1][1].close()
            with ExitStack() as stack:
                path = stack.enter_context(local_bag(name, job.cache_bytes))
                reader = stack.enter_context(BagReader(
                    path, _discard, scratch_folder(job.key)))
                self._open[key] = (reader, stack.pop_all())
        self._open.move_to_end(key)
        return self._open[key][0]


def _discard(line: str) -> None:
    """Do nothing: the warnings of a bag go into the manifest."""


_bags = _OpenBags()
