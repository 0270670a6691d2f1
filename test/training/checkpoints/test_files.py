"""Checkpoint files are read without running or building what is in them."""

from __future__ import annotations

from argparse import Namespace
import builtins
from datetime import datetime, timezone
from pathlib import Path
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from resnet_trt_node.errors import ModelError
from resnet_trt_node.training.checkpoints.files import load_file
from resnet_trt_node.training.checkpoints.weights import load_network
from resnet_trt_node.training.networks.resnet import ResNet
import torch

pytestmark = pytest.mark.slow

WEIGHTS = {'a': torch.arange(3.0)}


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('entry', [
    Namespace(lr=0.1, out=Path('runs')), SimpleNamespace(best=np.float64(0.9)), np.float32(1),
    np.int64(3), np.dtype('float16'), Path('/tmp'), datetime.now(timezone.utc)])
def test_what_training_programs_keep_of_themselves_is_not_read(
        tmp_path: Path, entry: Any, zipped: bool) -> None:
    path = tmp_path / 'net.pth'
    torch.save({'model': WEIGHTS, 'args': entry, 'epoch': 3}, path,
               _use_new_zipfile_serialization=zipped)
    content = load_file(path)
    assert torch.equal(content['model']['a'], WEIGHTS['a'])
    assert content['epoch'] == 3
    # Something empty stands there, not what was written.
    assert not isinstance(content['args'], type(entry))
    assert not vars(content['args'])


class _Call:
    """Pickled as a call of a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self._reduced


def test_the_classes_themselves_are_never_called(tmp_path: Path) -> None:
    # Each of these calls would raise.
    path = tmp_path / 'net.pth'
    torch.save({'model': WEIGHTS, 'when': _Call(datetime, 'no', 'such', 'date'),
                'args': _Call(Namespace, 1, 2, 3), 'type': _Call(np.dtype, 'nonsense')}, path)
    assert torch.equal(load_file(path)['model']['a'], WEIGHTS['a'])


@pytest.mark.parametrize('name', ['eval', 'exec', 'print', '__import__'])
def test_functions_are_still_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / 'net.pth'
    torch.save({'model': WEIGHTS, 'args': _Call(getattr(builtins, name), 'code')}, path)
    with pytest.raises(ModelError, match=f'{name}.*can run code|plain tensors'):
        load_file(path)


def test_allowing_them_ends_with_the_reading(tmp_path: Path) -> None:
    path = tmp_path / 'net.pth'
    torch.save({'args': Namespace(lr=1)}, path)
    load_file(path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_safetensors_files_are_read_as_the_library_does(tmp_path: Path) -> None:
    library = pytest.importorskip('safetensors.torch', reason='safetensors is not installed')
    network = ResNet('resnet18', 3)
    # Of half precision, which becomes float32 without rounding.
    halves = {key: value.half() if value.is_floating_point() else value
              for key, value in network.state_dict().items()}
    path = tmp_path / 'model.safetensors'
    library.save_file({f'module.{key}': value for key, value in halves.items()}, path)
    loaded, info = load_network(None, path)
    assert info.source == 'model.safetensors'
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, halves[key].to(value.dtype)), key
    for content in (path.read_bytes()[:-9], b'', b'no safetensors at all'):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r'no whole safetensors file .*again') as caught:
            load_network(None, path)
        assert '\n' not in str(caught.value)


def test_the_missing_library_is_named_with_what_installs_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'model.safetensors'
    path.write_bytes(b'')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(ModelError, match=r'needs safetensors .*: pip install safetensors'):
        load_file(path)
