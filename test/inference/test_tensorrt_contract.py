"""What every backend promises, of the TensorRT backends on stand-ins; a GPU machine has the real."""

import pytest

from standin_cuda import StandInCuda
from standin_tensorrt import StandInTensorRt
from test_backend_contract import *  # noqa: F401, F403  its tests and fixtures are what runs here

#: Backend to the versions that stand in for it.
VERSIONS = [('tensorrt', '8.6'), ('tensorrt', '10'), ('tensorrt', '11'), ('tensorrt_rtx', 'rtx')]


@pytest.fixture(params=VERSIONS, ids=lambda pair: '-'.join(pair), autouse=True)
def machine(request, monkeypatch):
    """Put a machine with one GPU and one TensorRT in place of this one."""
    cuda = StandInCuda().install(monkeypatch)
    # The other flavour too: some tests go through the backends by themselves.
    both = [StandInTensorRt(kind, cuda).install(monkeypatch)
            for kind in dict.fromkeys((request.param[1], '8.6', 'rtx'))]
    both[0].install(monkeypatch)
    yield request.param[0]
    assert cuda.nothing_held(), cuda.held
    assert not any(trt.contexts or trt.engines for trt in both)


@pytest.fixture
def name(machine):
    return machine
