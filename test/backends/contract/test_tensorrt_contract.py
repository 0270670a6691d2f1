"""What every backend promises, of the TensorRT backends on stand-ins of four versions."""

from contextlib import suppress

from models import lean_engines
import pytest

from resnet_trt_node.backends.tvm.runtime import load_tvm
from resnet_trt_node.contract import model_file
from resnet_trt_node.errors import BackendUnavailable
from stand_ins.standin_cuda import StandInCuda
from stand_ins.standin_tensorrt import StandInTensorRt
import test_backend_contract
import test_backend_lifetime

pytestmark = pytest.mark.slow

# TVM cannot be imported for the first time while stand-ins pose as CUDA's packages.
with suppress(BackendUnavailable):
    load_tvm()

# Their tests, collected here once more.
for module in (test_backend_contract, test_backend_lifetime):
    globals().update({
        name: value for name, value in vars(module).items() if not name.startswith('_')})

#: Backend to the versions that stand in for it.
VERSIONS = [('tensorrt', '8.6'), ('tensorrt', '10'), ('tensorrt', '11'), ('tensorrt_rtx', 'rtx'),
            ('tensorrt_lean', 'lean 10')]
_read_regular = model_file.read_regular


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


@pytest.fixture(scope='session')
def engine_dir(tmp_path_factory):
    """Return a folder for the stand-ins' engines alone."""
    return tmp_path_factory.mktemp('engines')


@pytest.fixture
def build_for_lean(monkeypatch):
    """Build on the stand-in of 8.6, reading files as another process does."""
    def build(path, options):
        with monkeypatch.context() as patch:
            patch.setattr(model_file, 'read_regular', _read_regular)
            lean_engines.build_for_lean(path, options)
    return build


@pytest.fixture
def name(machine):
    return machine
