"""What the model tests share: one small exported ResNet for all of them."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Iterator

from pictures.shapes import write_shapes
import pytest
from resnet_trt_node.onnx_tools.deployable import WrittenModel


@pytest.fixture(scope='session', autouse=True)
def few_threads() -> Iterator[None]:
    """Leave the other cores to the other tests."""
    torch = sys.modules.get('torch')
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='session')
def divided_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures of shapes, divided into train/ and test/."""
    root = tmp_path_factory.mktemp('shapes')
    write_shapes(root / 'train', 16, seed=0)
    write_shapes(root / 'test', 8, seed=1)
    return root


@pytest.fixture(scope='session')
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> WrittenModel:
    """Return a random ResNet-18 of 64x64 input and 5 classes, in fp32."""
    from resnet_trt_node.training.export import export_resnet
    path = tmp_path_factory.mktemp('models') / 'resnet18.onnx'
    return export_resnet('resnet18', 'random', path, num_classes=5, seed=3, image_size=64)


@pytest.fixture(scope='session')
def resnet18_fp16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same network in fp16."""
    from resnet_trt_node.training.export import export_resnet
    path = tmp_path_factory.mktemp('models') / 'resnet18_fp16.onnx'
    return export_resnet('resnet18', 'random', path, num_classes=5, seed=3, image_size=64,
                         precision='fp16').path
