"""A run: units go to Ray as it has room for them, their answers to files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from time import monotonic
from typing import Any, Optional, Union

from resnet_trt_node.errors import DataError
from resnet_trt_node.fleet.bags import Bag
from resnet_trt_node.fleet.cluster import PATIENCE_S, RETRIES, what_is_free
from resnet_trt_node.fleet.extra import needs_fleet_extra
from resnet_trt_node.fleet.manifest import BagRecord, DONE, FAILED, RunFolder, UnitRecord
from resnet_trt_node.fleet.tasks import Answer, Job, plan_bag, run_unit
from resnet_trt_node.text.printable import printable

with needs_fleet_extra():
    import ray

#: Characters of an error of a library, which may have a traceback in it.
_LONGEST = 400
#: The manifest is saved so often, and less often where that takes long: a crash loses the rest.
_SAVE_EVERY_S, _SAVE_SHARE = 5.0, 0.05
#: What does not end in so long is killed with its process.
_CANCEL_S = 5.0


@dataclass(frozen=True)
class Progress:
    """
    How far a run is.

    :param new: frames that were done or failed since the last call.
    :param total: frames of all bags; of those that are not planned yet as many as others have.
    """

    new: int
    total: int


@dataclass
class Run:
    """
    One run over some bags.

    :param folder: where the answers go.
    :param job: what is done.
    :param readers: how many units are in work at the same time.
    :param reader_cores: share of a core of each.
    :param report: called as units end.
    :param fail: called with each failure in words.
    :param log: called once with what Ray waits for, if nothing ends for long at the start.
    """

    folder: RunFolder
    job: Job
    readers: int
    reader_cores: float
    report: Callable[[Progress], None]
    fail: Callable[[str], None]
    log: Callable[[str], None]
    _work: dict[Any, Union[BagRecord, tuple[UnitRecord, int]]] = field(default_factory=dict)
    _ready: deque[UnitRecord] = field(default_factory=deque)
    _new: int = 0
    _planned_bags: int = 0
    _planned_frames: int = 0
    _save_at: float = 0.0

    def go(self, bags: Sequence[Bag]) -> bool:
        """
        Do what is missing.

        :returns: whether all is done, that of bags of the earlier run too.
        :raises OSError: if the manifest cannot be written.
        """
        records = self.folder.take(bags)
        self.folder.save()
        with ExitStack() as stack:
            stack.callback(self.folder.save)
            stack.callback(self._cancel)
            self._loop(records)
        return all(one['state'] == DONE for one in self.folder.document(False)['bags'])

    def _loop(self, records: Sequence[BagRecord]) -> None:
        options = {'max_retries': RETRIES, 'num_cpus': self.reader_cores,
                   'retry_exceptions': [OSError, ray.exceptions.RayError]}
        plan, run = (ray.remote(one).options(**options) for one in (plan_bag, run_unit))
        job = ray.put(self.job)
        waiting = deque(records)
        places = list(range(self.readers))
        planning = 0
        patience_s: Optional[float] = PATIENCE_S
        while True:
            # Bags are planned as units are needed: the list of all would not be bounded.
            while waiting and len(self._work) < self.readers and (
                    len(self._ready) + planning < self.readers):
                record = waiting.popleft()
                self._work[plan.remote(job, record.bag)] = record
                planning += 1
            while self._ready and len(self._work) < self.readers:
                one, place = self._ready.popleft(), heappop(places)
                self._work[run.remote(job, one.unit, place)] = one, place
            if not self._work:
                return
            done, _ = ray.wait(list(self._work), num_returns=1, timeout=patience_s)
            if not done:
                self.log(f'no bag is open yet: Ray reads {len(self._work)}, or has no room for a '
                         f'reader, which needs {self.reader_cores:g} cores; {what_is_free()}')
            patience_s = None
            for reference in done:
                task = self._work.pop(reference)
                answer = _answer(reference)
                if isinstance(task, BagRecord):
                    planning -= 1
                    self._planned(task, answer)
                else:
                    one, place = task
                    heappush(places, place)
                    self._ended(one, answer)
            self._save()
            self._report(len(records))

    def _cancel(self) -> None:
        """End what is under way, if the run is interrupted; Ray would try it again."""
        if not self._work:
            return
        with suppress(ray.exceptions.RayError, OSError, RuntimeError, ValueError):
            for reference in self._work:
                ray.cancel(reference)
            ray.wait(list(self._work), num_returns=len(self._work), timeout=_CANCEL_S)

    def _planned(self, record: BagRecord, answer: Answer) -> None:
        record.warnings += answer.warnings
        record.error = answer.error
        if record.error is None:
            try:
                self._ready += self.folder.planned(record, answer.units)
                self._planned_bags += 1
                self._planned_frames += sum(unit.images for unit in answer.units)
                self._new += sum(
                    one.unit.images for one in record.units or () if one.state == DONE)
            except DataError as error:
                record.error = str(error)
        if record.error is not None:
            self.fail(f'failed: {record.error}')

    def _ended(self, one: UnitRecord, answer: Answer) -> None:
        one.error = answer.error
        self._new += one.unit.images
        if one.error is None:
            try:
                self.folder.write(one, answer.content)
            except OSError as error:
                one.error = (f'cannot write {self.folder.path / one.file}: '
                             f'{error.strerror or error}')
        if one.error is not None:
            one.state = FAILED
            self.fail(f'failed: unit {one.unit.number} of {one.unit.bag}: {one.error}')

    def _save(self) -> None:
        start = monotonic()
        if start < self._save_at:
            return
        # A full disk fails units; whether it stays full is known at the end.
        with suppress(OSError):
            self.folder.save()
        end = monotonic()
        self._save_at = end + max(_SAVE_EVERY_S, (end - start) / _SAVE_SHARE)

    def _report(self, bags: int) -> None:
        known = self._planned_bags
        self.report(Progress(self._new, self._planned_frames * bags // known if known else 0))
        self._new = 0


def _answer(reference: Any) -> Answer:
    """Return the answer to a task; what Ray gave up becomes its error."""
    try:
        found: Answer = ray.get(reference)
        return found
    except ray.exceptions.WorkerCrashedError:
        return Answer(error=(
            f'its process ended {RETRIES + 1} times, killed for its memory or by a crash in a '
            'library'))
    except ray.exceptions.RayTaskError as error:
        return Answer(error=f'{printable(error.cause, _LONGEST)} ({RETRIES + 1} times)')
    except ray.exceptions.RayError as error:
        return Answer(error=f'Ray: {_first_line(error)}')


def _first_line(error: Exception) -> str:
    text: Optional[str] = next(iter(str(error).strip().splitlines()), None)
    return text or type(error).__name__
