"""EfficientNet-Lite0 from pip: the written graph is the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from resnet_trt_node.inference.spec import ResizeRule
from resnet_trt_node.model.efficientnet import (
    export_efficientnet_lite0, load_efficientnet_lite0, PREPARATION)
from resnet_trt_node.model.frames import sample_frames
from resnet_trt_node.model.graft import prepare
from resnet_trt_node.model.verify import OnnxRunner
import torch


def test_the_graph_computes_what_pytorch_does_before_and_after_preparing(tmp_path: Path) -> None:
    plain = export_efficientnet_lite0(tmp_path / 'lite0.onnx')
    value = onnx.load(str(plain)).graph.input[0]
    assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    frames = sample_frames(2, 224, 224, seed=8)
    x = ((frames.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2).copy()
    with torch.no_grad():
        expected = load_efficientnet_lite0()(torch.from_numpy(x))
    found, = OnnxRunner(plain, 'lite0').run({'input': x})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    report = prepare(plain, tmp_path / 'deployable.onnx', **PREPARATION)
    assert report.spec.resize == ResizeRule(256, 224, 224, 'bicubic')
    assert report.spec.labels[207] == 'golden retriever'
    found, = OnnxRunner(report.path, 'lite0').run({'images': frames})
    np.testing.assert_allclose(found, expected.softmax(1).numpy(), atol=1e-5)
