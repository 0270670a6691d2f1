"""How a run hands its units to Ray: all model actors have as much to do."""

from __future__ import annotations

from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any

from fleets.fleet_units import content_of, open_run, units_of
import pytest

# To import Ray asks for a free port.
pytestmark = pytest.mark.slow
ray = pytest.importorskip('ray', reason='Ray is missing: pip install .[fleet]')
ACTORS = (('first', 'here', 'gpu'), ('second', 'here', 'cpu'), ('far', 'there', 'gpu'))


class RayInOneThread:
    """Ray's functions as `Run` uses them: units end in any order, mostly after all planning."""

    exceptions = ray.exceptions

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.places: dict[int, int] = {}
        self.answers: dict[int, Any] = {}
        self.most: list[Counter[str]] = []

    def put(self, value: Any) -> Any:
        return value

    def remote(self, task: Any) -> Any:
        def start(job: Any, what: Any, *place: int) -> int:
            from resnet_trt_node.fleet.tasks import Answer
            number = len(self.answers)
            if place:
                [self.places[number]] = place
                self.answers[number] = Answer(content=content_of(what), images=2)
            else:
                self.answers[number] = Answer(units=units_of(what.drive, 2))
            return number
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def wait(self, references: list[int], **_: Any) -> tuple[list[int], list[int]]:
        from resnet_trt_node.fleet.tasks import _actor_of
        job: Any = SimpleNamespace(actors=ACTORS)
        working = [one for one in references if one in self.places]
        if len(working) == len(references) == 4:
            assert len({self.places[one] for one in working}) == 4
            self.most.append(Counter(
                _actor_of(job, self.places[one])[0] for one in working))
        planning = [one for one in references if one not in self.places]
        first = planning if planning and self._random.random() < 0.8 else references
        return [self._random.choice(first)], []

    def get(self, reference: int) -> Any:
        return self.answers[reference]


@pytest.mark.parametrize('seed', range(5))
def test_bags_of_one_unit_keep_every_actor_of_a_machine_busy(seed, monkeypatch, tmp_path):
    from resnet_trt_node.fleet import run, tasks
    stand_in = RayInOneThread(seed)
    monkeypatch.setattr(run, 'ray', stand_in)
    monkeypatch.setattr(tasks.ray, 'get_runtime_context', lambda: SimpleNamespace(
        get_node_id=lambda: 'here'))
    folder = open_run(tmp_path, *(f'drive{number}' for number in range(40)))
    job: Any = SimpleNamespace(actors=ACTORS)
    failures: list[str] = []
    whole = run.Run(
        folder, job, 4, 0.25, lambda progress: None, failures.append, failures.append)
    assert whole.go([one.bag for one in folder.bags])
    assert not failures
    # A bag that is planned takes the place of a unit.
    assert len(stand_in.most) > 20
    assert all(found == {'first': 2, 'second': 2} for found in stand_in.most)


def test_an_interrupted_run_cancels_what_is_under_way(monkeypatch, tmp_path):
    from resnet_trt_node.fleet import run
    stand_in = RayInOneThread(0)
    cancelled: list[int] = []
    stand_in.cancel = cancelled.append  # type: ignore[attr-defined]

    def wait(references: list[int], **options: Any) -> tuple[list[int], list[int]]:
        if cancelled:
            assert (cancelled, options['num_returns']) == (references, 4)
            return references, []
        raise KeyboardInterrupt
    monkeypatch.setattr(stand_in, 'wait', wait)
    monkeypatch.setattr(run, 'ray', stand_in)
    folder = open_run(tmp_path, *(f'drive{number}' for number in range(9)))
    whole = run.Run(folder, None, 4, 0.25, lambda progress: None, print, print)  # type: ignore
    with pytest.raises(KeyboardInterrupt):
        whole.go([one.bag for one in folder.bags])
    assert len(cancelled) == 4
    assert (tmp_path / 'manifest.json').exists()


def test_a_failed_bag_that_is_not_named_again_keeps_the_run_from_being_done(
        monkeypatch, tmp_path):
    from resnet_trt_node.fleet import run
    monkeypatch.setattr(run, 'ray', RayInOneThread(0))
    earlier = open_run(tmp_path, 'broken', 'good')
    earlier.bags[0].error = 'it is damaged'
    earlier.save()
    for bags, wanted in ((['good'], False), (['good', 'broken'], True)):
        folder = open_run(tmp_path, *bags, resume=True)
        again = run.Run(folder, None, 4, 0.25, lambda progress: None, print, print)  # type: ignore
        assert again.go([one.bag for one in folder.bags]) is wanted


def test_a_machine_without_an_actor_asks_those_of_others(monkeypatch):
    from resnet_trt_node.fleet import tasks
    monkeypatch.setattr(tasks.ray, 'get_runtime_context', lambda: SimpleNamespace(
        get_node_id=lambda: 'a machine without'))
    job: Any = SimpleNamespace(actors=ACTORS)
    assert [tasks._actor_of(job, place) for place in range(4)] == [
        ('first', 'gpu'), ('second', 'cpu'), ('far', 'gpu'), ('first', 'gpu')]
