"""Whatever happens in whatever order: each frame ends once, and each answer is its own."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, RuleBasedStateMachine
from pipelines.pipeline_bench import Bench, raises, RowsInput, UNFILLABLE
import pytest
from resnet_trt_node.node.pipeline import preprocess_worker
from resnet_trt_node.node.pipeline.scheduling import scheduler
from resnet_trt_node.node.pipeline.settings import LiveSettings
from resnet_trt_node.node.pipeline.work import WholeFrames

CAMERAS = ('front', 'left', 'rear')


@pytest.fixture(scope='module', autouse=True)
def patient_and_parallel():
    """Have drains wait for the publication under way, and several threads preprocess."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, '_PUBLISH_SEC', 60.0)
        # Each step with the threads that it has.
        patch.setattr(preprocess_worker, '_WORTH_MS', 0.0)
        yield


class PipelineMachine(RuleBasedStateMachine):
    """Offers, failures, drains and changes of settings in any order, in step with threads."""

    def make_input(self):
        return WholeFrames('exact')

    def make_message(self, rows):
        self.number = (self.number + 1) % 256
        return self.number

    @initialize(
        batch=st.integers(1, 4), depth=st.integers(1, 3), asynchronous=st.booleans(),
        attempts=st.integers(0, 3), late=st.booleans(), threads=st.integers(1, 3),
        filling=st.booleans())
    def begin(self, batch, depth, asynchronous, attempts, late, threads, filling):
        self.live = LiveSettings(
            top_k=1, reopen_after_failures=2, max_reopen_attempts=attempts,
            reopen_backoff_sec=0.0)
        self.bench = Bench(
            cameras=CAMERAS, max_batch_size=batch, queue_depth=depth, asynchronous=asynchronous,
            settings=self.live, preprocess_threads=threads, frames=self.make_input())
        self.bench.faults.late = late
        # Whether the caller preprocesses where it may.
        self.offer_one = partial(self.bench.pipeline.offer, preprocess=filling)
        self.offered = defaultdict(list)
        self.number = 0
        # How many answers there were after the last drain, None when resumed.
        self.drained = None

    @rule(camera=st.sampled_from(CAMERAS), rows=st.lists(
        st.integers(0, 9), min_size=1, max_size=6))
    def offer(self, camera, rows):
        for number in rows:
            message = self.make_message(number)
            self.offered[camera].append(message)
            self.offer_one(camera, message)

    @rule(camera=st.sampled_from(CAMERAS), message=st.sampled_from(['broken', 'odd']))
    def offer_a_bad_frame(self, camera, message):
        self.offered[camera].append(message)
        self.offer_one(camera, message)

    @rule(failures=st.lists(st.booleans(), min_size=1, max_size=8))
    def fail_batches(self, failures):
        self.bench.faults.batches.extend(raises() if failing else None for failing in failures)

    @rule(failures=st.lists(st.booleans(), min_size=1, max_size=3))
    def fail_openings(self, failures):
        self.bench.faults.openings.extend(raises() if failing else None for failing in failures)

    @rule()
    def hold_the_backend(self):
        self.bench.gate.clear()

    @rule()
    def release_the_backend(self):
        self.bench.gate.set()

    @rule(timeout_sec=st.sampled_from([0.0, 0.005]))
    def drain(self, timeout_sec):
        self.bench.pipeline.drain(timeout_sec)
        self.drained = len(self.bench.results)

    @rule()
    def resume(self):
        self.drained = None
        self.bench.pipeline.resume()

    @rule(
        max_age_ms=st.sampled_from([0.0, 0.05, 1.0, 1000.0]), wait_ms=st.sampled_from([0.0, 1.0]))
    def change_settings(self, max_age_ms, wait_ms):
        self.bench.pipeline.settings = LiveSettings(
            top_k=1, max_age_ms=max_age_ms, max_wait_ms=wait_ms,
            reopen_after_failures=self.live.reopen_after_failures,
            max_reopen_attempts=self.live.max_reopen_attempts, reopen_backoff_sec=0.0)

    @rule()
    def finish(self):
        self.bench.gate.set()
        self.bench.finish()

    @invariant()
    def no_frame_is_forgotten_or_counted_twice(self):
        if hasattr(self, 'bench'):
            for counts in self.bench.pipeline.counters.counts().values():
                assert counts.mismatch is None

    @invariant()
    def nothing_is_published_after_a_drain(self):
        if getattr(self, 'drained', None) is not None:
            assert len(self.bench.results) == self.drained

    def teardown(self):
        if not hasattr(self, 'bench'):
            return
        self.bench.check_end()
        assert self.bench.pipeline.unexpected_exception is None
        counts = self.bench.pipeline.counters.counts()
        for camera in CAMERAS:
            answers = [(value, guess) for name, value, guess in self.bench.results
                       if name == camera]
            assert counts[camera].received == len(self.offered[camera])
            assert counts[camera].answered == len(answers)
            assert all(value == guess for value, guess in answers)
            # In the order in which they came, each at most once.
            rest = iter(self.offered[camera])
            assert all(value in rest for value, _ in answers)


class RowsMachine(PipelineMachine):
    """The same with frames of any number of rows, as those of which regions are classified."""

    def make_input(self):
        return RowsInput()

    def make_message(self, rows):
        values = [super(RowsMachine, self).make_message(1) for _ in range(rows)]
        return tuple(values)

    @rule(camera=st.sampled_from(CAMERAS), rows=st.integers(0, 5), more=st.integers(0, 2))
    def offer_a_bad_row_among_good_ones(self, camera, rows, more):
        for message in (
                (*self.make_message(rows), UNFILLABLE, *self.make_message(1)),
                *(self.make_message(1) for _ in range(more))):
            self.offered[camera].append(message)
            self.offer_one(camera, message)


for machine in (PipelineMachine, RowsMachine):
    machine.TestCase.settings = settings(
        max_examples=60, stateful_step_count=25, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck))
TestPipeline = PipelineMachine.TestCase
TestRows = RowsMachine.TestCase
