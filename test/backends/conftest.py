"""What the tests of inference share; helpers lie beside it, which puts them on the import path."""

from __future__ import annotations

import pytest

from resnet_trt_node.backends import factory
from resnet_trt_node.backends.engines.cache import EngineCache


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch):
    """Forget what other tests had `auto` log once for a process."""
    monkeypatch.setattr(factory, '_logged', set())


@pytest.fixture
def said():
    return []


@pytest.fixture
def cache(tmp_path, said):
    return EngineCache(tmp_path / 'engines', said.append)


@pytest.fixture(scope='module')
def rtx():
    return pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
