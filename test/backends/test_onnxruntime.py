"""How ONNX Runtime is set up; what it answers is the contract's matter."""

from __future__ import annotations

import pytest

from resnet_trt_node.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeOptions
from tiny_model import write_tiny_model

onnxruntime = pytest.importorskip('onnxruntime', reason='ONNX Runtime is not installed')


def test_threads_sleep_and_int8_does_not_saturate(tmp_path, monkeypatch):
    made = []

    def noted(path, options, **others):
        made.append(options)
        return really(path, options, **others)

    really = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, 'InferenceSession', noted)
    model = write_tiny_model(tmp_path / 'tiny.onnx')
    with OnnxRuntimeBackend(model, OnnxRuntimeOptions(cpu_threads=1)) as backend:
        assert backend.info.details == {'cpu_threads': '1'}
    options, = made
    assert options.intra_op_num_threads == 1
    # Spinning takes the CPU from other nodes; CPUs without VNNI need the other.
    assert options.get_session_config_entry('session.intra_op.allow_spinning') == '0'
    assert options.get_session_config_entry('session.x64quantprecision') == '1'
