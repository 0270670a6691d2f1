"""How ONNX Runtime is set up; what it answers is the contract's matter."""

from __future__ import annotations

import subprocess
import sys

from models.tiny_model import write_tiny_model
import onnx
import pytest
from resnet_trt_node.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeOptions
from resnet_trt_node.errors import ModelError

onnxruntime = pytest.importorskip('onnxruntime', reason='ONNX Runtime is not installed')


def test_threads_sleep_and_int8_does_not_saturate(tmp_path, monkeypatch):
    made = []

    def noted(path, options, **others):
        made.append(options)
        return really(path, options, **others)

    really = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, 'InferenceSession', noted)
    model = write_tiny_model(tmp_path / 'tiny.onnx')
    with OnnxRuntimeBackend(model, OnnxRuntimeOptions(threads=1)) as backend:
        assert backend.info.details == {'threads': '1'}
    options, = made
    assert options.intra_op_num_threads == 1
    # Spinning takes the CPU from other nodes; CPUs without VNNI need the other.
    assert options.get_session_config_entry('session.intra_op.allow_spinning') == '0'
    assert options.get_session_config_entry('session.x64quantprecision') == '1'


@pytest.mark.slow
def test_it_runs_without_the_package_onnx(tmp_path):
    """As on a robot that has ONNX Runtime alone."""
    model = write_tiny_model(tmp_path / 'tiny.onnx')
    subprocess.run([sys.executable, '-c', (
        'import sys\n'
        'sys.modules["onnx"] = None\n'
        'from resnet_trt_node.backends.factory import open_backend\n'
        'with open_backend(sys.argv[1], "onnxruntime", threads=1) as backend:\n'
        '    assert backend.infer(1).shape == (1, backend.spec.num_classes)\n'), str(model)],
        check=True)


def test_weights_in_another_file_are_refused_without_the_package_onnx(tmp_path, monkeypatch):
    model = onnx.load(str(write_tiny_model(tmp_path / 'tiny.onnx')))
    outside = tmp_path / 'outside.onnx'
    onnx.save(model, str(outside), save_as_external_data=True, location='weights.bin',
              size_threshold=0)
    # Where ONNX Runtime itself would find them.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(ModelError, match=r'weights\.bin'):
        OnnxRuntimeBackend(outside, OnnxRuntimeOptions())
