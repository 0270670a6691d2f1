"""How the cores of machines are shared: actors and readers always have room."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from resnet_trt_node.errors import UsageError

# To import Ray asks for a free port.
pytestmark = pytest.mark.slow
cluster = pytest.importorskip('resnet_trt_node.fleet.cluster', exc_type=Exception)


@pytest.mark.parametrize(('machines', 'threads', 'wanted'), [
    ([(4, 0)], 1, (4, .5, 8, .25)), ([(1, 0)], 1, (1, .5, 2, .25)),
    ([(4, 0)], 3, (1, 1.5, 10, .25)), ([(0, 0), (4, 0)], 4, (1, 2, 8, .25)),
    # More threads than cores: the share is what there is, but for a reader.
    ([(4, 0)], 8, (1, 3.75, 1, .25)), ([(4, 0)], 16, (1, 3.75, 1, .25)),
    ([(1, 0)], 2, (1, .75, 1, .25)),
    # Together they have room for more than each has.
    ([(1, 0)] * 4, 4, (1, .75, 13, .25)), ([(3, 0), (3, 0)], 2, (2, 1, 16, .25))])
def test_on_cores(machines, threads, wanted):
    found = cluster.share_cores(machines, False, threads)
    assert (found.actors, found.actor_cores, found.readers, found.reader_cores) == pytest.approx(
        wanted)


def test_ray_has_room_for_the_paths_of_its_sockets(tmp_path, monkeypatch):
    folders = []

    def init(address, _temp_dir, **_):
        folders.append(Path(_temp_dir))
        # As Ray names them, with the longest process id.
        assert len(f'{_temp_dir}/session_2026-11-30_17-38-56_123456_4194304/sockets/plasma_store'
                   ) <= 107
        return SimpleNamespace(dashboard_url=None)
    monkeypatch.setattr(cluster, 'ray', SimpleNamespace(
        init=init, is_initialized=lambda: False, nodes=list, shutdown=lambda: None))
    for temporary in (tmp_path / ('long' * 10), Path('/tmp')):
        temporary.mkdir(exist_ok=True)
        monkeypatch.setattr('tempfile.tempdir', str(temporary))
        with cluster.connected('local'):
            assert folders[-1].is_dir()
    assert not any(folder.exists() for folder in folders)


@pytest.mark.parametrize(('machines', 'actors', 'readers'), [
    ([(16, 1)], 1, 31), ([(4, 8)], 8, 1), ([(4, 7)], 7, 1), ([(2, 3), (16, 1)], 4, 32),
    ([(0, 0), (8, 2)], 2, 14), ([(1, 3)], 3, 1)])
def test_on_gpus(machines, actors, readers):
    found = cluster.share_cores(machines, True, 1)
    assert (found.actors, found.readers) == (actors, readers)
    # The shares of a machine, counted as Ray does, leave one for a reader.
    for cores, gpus in machines:
        if gpus:
            assert round(gpus * found.actor_cores, 9) + found.reader_cores <= cores
    assert found.actor_cores > 0


@pytest.mark.parametrize(('machines', 'on_gpus', 'text'), [
    ([], False, 'no machine of Ray has more than 0.25 cores: check'),
    ([(0, 0)], False, 'no machine of Ray has more than 0.25 cores: check'),
    ([(0, 2), (8, 0)], True, 'no machine of Ray has a GPU and more than 0.5 cores: check')])
def test_no_room_is_an_error(machines, on_gpus, text):
    with pytest.raises(UsageError, match=text):
        cluster.share_cores(machines, on_gpus, 1)
