"""
What the tests of every backend's promises share: each backend that this machine can open.

A backend joins by its entry in `inference.factory.BACKENDS`.
"""

from pathlib import Path

from models.lean_engines import build_elsewhere
from models.open_backends import BACKEND_PARAMS, MAX_BATCH, SIDE
from models.tiny_model import write_tiny_model
import pytest
from resnet_trt_node.backends.factory import open_backend, options_of
from resnet_trt_node.backends.tensorrt.versions import load_module
from resnet_trt_node.errors import BackendUnavailable


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('contract') / 'tiny.onnx', size=SIDE)


@pytest.fixture(scope='session')
def engine_dir(kept):
    """Return one folder of engines for all tests: engines take long to build."""
    return kept.engines('engines')


@pytest.fixture(scope='session')
def engines_of_lean():
    """Return a list of the models that engines were built of for the lean runtime."""
    return []


@pytest.fixture(params=BACKEND_PARAMS)
def name(request):
    return request.param


@pytest.fixture
def build_for_lean():
    """Return what builds an engine that the lean runtime opens."""
    return build_elsewhere


@pytest.fixture
def opener(name, model, engine_dir, build_for_lean, engines_of_lean):
    """Return a function that opens the backend under test; what is left open is closed."""
    opened = []
    lean = name == 'tensorrt_lean'

    def open_it(path=model, **options):
        # Of what is for all backends each gets what it uses.
        own = {option: value for option, value in (
            ('threads', 2), ('engine_dir', engine_dir), ('simulated_ms', 0.0),
            ('engine_host_code', lean))
            if option in options_of(name)}
        given = {'max_batch_size': MAX_BATCH, 'num_buffers': 2, **own, **options}
        if lean and Path(path).is_file():
            load_module(name)
            # Once for each model, name and batch; what is no file is the backend's to refuse.
            wanted = Path(path).name, Path(path).read_bytes(), given['max_batch_size']
            if wanted not in engines_of_lean:
                build_for_lean(path, given)
                engines_of_lean.append(wanted)
        backend = open_backend(path, name, **given)
        opened.append(backend)
        return backend
    try:
        open_it().close()
    except BackendUnavailable as error:
        pytest.skip(f'{name} cannot run here: {error}')
    yield open_it
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(opener):
    return opener()
