"""Checkpoints: every form that is in use loads, every misfit is named."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from pathlib import Path
import pickle
import re
from typing import Any, Callable

import numpy as np
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import LabelsError, ModelError, UsageError
from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.checkpoints.initial_network import initial_network
from resnet_trt_node.training.checkpoints.published import PUBLISHED
from resnet_trt_node.training.checkpoints.weights import (
    best_recipe, choose_weights, load_network)
from resnet_trt_node.training.networks.random_weights import initialise
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.pruning.checkpoint import open_checkpoint
import torch

pytestmark = pytest.mark.slow


class Meter:
    """Stands for what a training program may keep of its own."""


@pytest.fixture(scope='module')
def state() -> OrderedDict[str, torch.Tensor]:
    """Return the parameters of a random ResNet-18 of 5 classes."""
    network, _ = load_network('resnet18', 'random', 5, seed=1)
    return network.state_dict()


def _saved(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / 'net.pth'
    torch.save(content, path)
    return path


@pytest.mark.parametrize('wrap', ['plain', 'state_dict', 'model', 'module.', 'no counters'])
def test_every_usual_form_of_a_checkpoint_loads(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor], wrap: str) -> None:
    content: Any = state
    if wrap in ('state_dict', 'model'):
        content = {wrap: state, 'epoch': 3}
    elif wrap == 'module.':
        content = {f'module.{key}': value for key, value in state.items()}
    elif wrap == 'no counters':
        content = {key: value for key, value in state.items() if 'num_batches' not in key}
    network, info = load_network('resnet18', _saved(tmp_path, content))
    assert network.fc.out_features == 5
    assert not network.training
    for key, value in network.state_dict().items():
        if 'num_batches' not in key:
            assert torch.equal(value, state[key]), key
    assert info.source == 'net.pth'
    assert len(info.sha256) == 64
    assert (info.declared.image_size, info.declared.short_side) == (224, 256)
    assert info.declared.source == ''


@pytest.mark.parametrize('name', ['state_dict_ema', 'model_ema', 'ema', 'swa_state'])
def test_which_of_raw_and_averaged_weights_was_taken_is_reported(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor], name: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    averaged = {key: value * 0 for key, value in state.items()}
    path = _saved(tmp_path, {'state_dict': state, name: averaged, 'optimizer': {}})
    network, info = load_network('resnet18', path)
    assert torch.equal(network.fc.bias, state['fc.bias'])
    assert re.search(f"net.pth, .*'state_dict', not .*'{name}'", info.source)
    assert main(['export', '--arch', 'resnet18', '--weights', str(path), '-o',
                 str(tmp_path / 'out.onnx'), '--image-size', '32']) == 0
    assert info.source in capsys.readouterr().out


@pytest.mark.parametrize(('name', 'shown'), [
    ('model_ema', 'model_ema.module'), ('shadow', 'shadow'), ('ema', 'ema')])
def test_averaged_weights_within_a_wrapper_of_their_own_are_said(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor], name: str, shown: str) -> None:
    averaged: dict[str, Any] = {
        'model_ema': {'module': state, 'decay': 0.9}, 'shadow': state,
        'ema': {'decay': 0.9, 'shadow_params': list(state.values())}}
    path = _saved(tmp_path, {'model': {'state_dict': state}, name: averaged[name]})
    _, info = load_network('resnet18', path)
    assert info.source == (
        f"net.pth, weights of 'model.state_dict', not the averaged ones of '{shown}'")


@pytest.mark.parametrize('change', [
    lambda weight: weight.to(torch.int8), lambda weight: weight.to(torch.complex64),
    lambda weight: weight.to_sparse(), lambda weight: weight.to('meta')])
def test_tensors_that_are_no_plain_floats_are_named(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor],
        change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = _saved(tmp_path, {**state, 'fc.weight': change(state['fc.weight'])})
    with pytest.raises(ModelError, match=r'kind: fc\.weight is') as caught:
        load_network('resnet18', path)
    assert ';' not in str(caught.value)


def test_the_classes_are_known_without_the_bias_of_the_classifier(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    path = _saved(tmp_path, {key: value for key, value in state.items() if key != 'fc.bias'})
    with pytest.raises(
            ModelError, match=r'with 5 classes \(of 122 .* 1 missing\), .*: missing: fc\.bias$'):
        load_network('resnet18', path)


def test_every_command_reads_the_same(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    content = {'net': {f'module._orig_mod.{key.replace("fc.", "fc.1.")}': value
                       for key, value in state.items()}}
    path = _saved(tmp_path, content)
    for network in (load_network('resnet18', path)[0], open_checkpoint(path).network,
                    initial_network('resnet18', path, 'abcde')[0]):
        for key, value in network.state_dict().items():
            assert torch.equal(value, state[key]), key
    # The architecture is told by the names.
    assert choose_weights(None, path)[0] == 'resnet18'
    assert load_network(None, path)[0].arch == 'resnet18'


@pytest.mark.parametrize(('entry', 'name'), [
    (Meter(), r'[\w.]*test_weights\.Meter'), (np.zeros(3), r'numpy[\w.]*\._reconstruct'),
    (torch.nn.Linear(1, 1), 'torch.nn.modules.linear.Linear')])
def test_a_refusal_names_the_object_that_is_no_tensor(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor], entry: Any, name: str) -> None:
    path = _saved(tmp_path, {'state_dict': state, 'args': entry})
    with pytest.raises(ModelError, match=rf'holds {name}, .*torch\.save') as caught:
        load_network('resnet18', path)
    assert 'weights_only' not in str(caught.value)


@pytest.mark.parametrize('content', [
    b'hello world', b'', b'\x80\x04\x95', pickle.dumps({'when': datetime(2024, 1, 2)})])
def test_what_pytorch_cannot_read_is_reported_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'net.pth'
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_network('resnet18', path)
    assert '\n' not in str(caught.value)
    assert 'weights_only' not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_another_architecture_is_named_and_the_list_is_cut(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError) as caught:
        load_network('resnet50', _saved(tmp_path, state))
    first, *parts = str(caught.value).split('; ')
    assert 'resnet50 with 5 classes (of 320 tensors 165 missing, 24 of another shape)' in first
    assert '--arch resnet18' in first
    assert first.endswith(': missing: layer1.0.conv3.weight')
    assert len(parts) == 5
    assert re.fullmatch(r'and \d+ more', parts[-1])


def test_another_number_of_classes_is_named(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError) as caught:
        load_network('resnet18', _saved(tmp_path, state), num_classes=7)
    assert str(caught.value).endswith(
        ': shape: fc.weight is (5, 512), not (7, 512); shape: fc.bias is (5,), not (7,)')
    assert '--num-classes 5' in str(caught.value)


def test_unknown_missing_and_bad_numbers_are_listed(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    content = dict(state)
    del content['bn1.weight']
    content['extra.weight'] = torch.zeros(1)
    content['conv1.weight'] = torch.full_like(content['conv1.weight'], float('nan'))
    with pytest.raises(ModelError) as caught:
        load_network('resnet18', _saved(tmp_path, content))
    counts = '(of 122 tensors 1 missing, 1 unknown, 1 not finite)'
    assert f'{counts}, it is another network: export' in str(caught.value)
    missing, unknown, not_finite = str(caught.value).split('; ')
    assert missing.endswith(': missing: bn1.weight')
    assert unknown == 'unknown: extra.weight'
    assert not_finite.startswith('not finite: conv1.weight')


class _Bomb:

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ('code in a checkpoint ran',))


def test_code_in_a_checkpoint_does_not_run(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match='plain tensors') as caught:
        load_network('resnet18', _saved(tmp_path, {'conv1.weight': _Bomb()}))
    assert '\n' not in str(caught.value)
    assert 'ran' not in capsys.readouterr().out


@pytest.mark.parametrize('content', [b'', b'no tensors at all'])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'net.pth'
    path.write_bytes(content)
    with pytest.raises(ModelError, match='plain tensors'):
        load_network('resnet18', path)


@pytest.mark.parametrize('content', [{}, [1, 2], {'epoch': 3}, {'state_dict': {'a': 1}}])
def test_files_without_a_state_dict_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match='no state dict'):
        load_network('resnet18', _saved(tmp_path, content))


def test_a_missing_file_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'none\.pth: .*imagenet1k_v1'):
        load_network('resnet18', tmp_path / 'none.pth')


def test_v2_of_the_small_networks_does_not_exist() -> None:
    with pytest.raises(UsageError, match=r'no imagenet1k_v2 .*resnet34'):
        load_network('resnet34', 'imagenet1k_v2')
    assert best_recipe('resnet34') == 'imagenet1k_v1'
    assert best_recipe('resnet50') == 'imagenet1k_v2'


def test_published_weights_keep_their_thousand_classes() -> None:
    with pytest.raises(LabelsError, match='1000 classes, 10 '):
        load_network('resnet50', 'imagenet1k_v1', num_classes=10)


def test_published_weights_come_through_the_cache_with_their_own_rule(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, _ = load_network('resnet50', 'random')
    path = _saved(tmp_path, network.state_dict())
    asked = []

    def fetch(url: str, sha256: str, folder: Any) -> Path:
        asked.append((url, sha256, folder))
        return path

    monkeypatch.setattr('resnet_trt_node.training.checkpoints.weights.fetch_checkpoint', fetch)
    loaded, info = load_network('resnet50', 'imagenet1k_v2', cache=tmp_path)
    assert asked == [(
        'https://download.pytorch.org/models/resnet50-11ad3fa6.pth',
        '11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca', tmp_path)]
    assert info.declared.short_side == 232
    assert info.source == 'torchvision imagenet1k_v2'
    assert torch.equal(loaded.fc.weight, network.fc.weight)


def test_every_download_has_a_whole_hash() -> None:
    digests = [sha256 for files in PUBLISHED.values() for sha256 in files.values()]
    assert len(set(digests)) == 7
    assert all(re.fullmatch('[0-9a-f]{64}', sha256) for sha256 in digests)


def test_a_checkpoint_without_a_known_hash_is_not_downloaded() -> None:
    with pytest.raises(UsageError, match=r'sha256 .*resnet152-f82ba261\.pth'):
        load_network('resnet152', 'imagenet1k_v2')
    assert best_recipe('resnet152') == 'imagenet1k_v1'


def test_random_weights_follow_the_seed_alone() -> None:
    first, _ = load_network('resnet18', 'random', 5, seed=1)
    torch.rand(7)
    second, info = load_network('resnet18', 'random', 5, seed=1)
    other, _ = load_network('resnet18', 'random', 5, seed=2)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert info.source == 'random, seed 1'


def test_initialising_leaves_the_callers_random_numbers_alone() -> None:
    network = ResNet('resnet18', 5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    initialise(network, 1)
    assert torch.equal(torch.rand(3), expected)


def test_random_weights_distinguish_pictures() -> None:
    network, _ = load_network('resnet18', 'random', 100, seed=0)
    with torch.no_grad():
        logits = network(torch.from_numpy(IMAGENET.apply(sample_frames(12, 64, 64, seed=9))))
    probabilities = logits.softmax(dim=1)
    assert len(set(probabilities.argmax(dim=1).tolist())) >= 6
    assert 0.05 < float(probabilities.max(dim=1).values.mean()) < 0.95


def test_odd_checkpoints_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / 'odd.pth'
    torch.save({0: torch.zeros(3)}, path)
    with pytest.raises(ModelError, match='no state dict'):
        load_network('resnet18', path)
    torch.save({**ResNet('resnet18', 3).state_dict(), 'fc.bias': torch.tensor(1.0)}, path)
    with pytest.raises(ModelError, match=r'fc\.bias'):
        load_network('resnet18', path)
