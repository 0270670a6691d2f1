"""What the tests of comparisons share: models, an open backend, frames."""

from __future__ import annotations

from models.tiny_model import write_tiny_model
import pytest
from resnet_trt_node.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeOptions
from resnet_trt_node.compare.subject import BackendSubject
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from stand_ins.fake_subject import OPTIONS, perturb


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('compare') / 'colours.onnx')


@pytest.fixture(scope='session')
def perturbed(model):
    return perturb(model, model.with_name('perturbed.onnx'), 0.5)


@pytest.fixture
def subject(model):
    with BackendSubject(OnnxRuntimeBackend(model, OnnxRuntimeOptions(**OPTIONS))) as opened:
        yield opened


@pytest.fixture(scope='session')
def frames():
    """Ten frames, of which no batch of 4 holds the last two."""
    return sample_frames(10, 32, 32, seed=1)
