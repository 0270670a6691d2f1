"""Checkpoints: every form that is in use loads, every misfit is named."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
import re
from typing import Any

import pytest
from resnet_trt_node.errors import LabelsError, ModelError, UsageError
from resnet_trt_node.model.frames import sample_frames
from resnet_trt_node.model.network import ResNet
from resnet_trt_node.model.normalisation import IMAGENET
from resnet_trt_node.model.random_weights import initialise
from resnet_trt_node.model.weights import best_recipe, load_network, PUBLISHED
import torch


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
    assert info.short_side_of_224 == 256


def test_another_architecture_is_named_and_the_list_is_cut(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError) as caught:
        load_network('resnet50', _saved(tmp_path, state))
    lines = str(caught.value).splitlines()
    assert 'does not fit resnet50 with 5 classes' in lines[0]
    assert 'looks like resnet18: pass --arch resnet18' in lines[0]
    assert lines[1] == '  missing: layer1.0.conv3.weight'
    assert len(lines) == 12
    assert lines[-1].strip().startswith('... and ')


def test_another_number_of_classes_is_named(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    with pytest.raises(ModelError) as caught:
        load_network('resnet18', _saved(tmp_path, state), num_classes=7)
    assert str(caught.value).splitlines()[1:] == [
        '  shape: fc.weight is (5, 512), not (7, 512)', '  shape: fc.bias is (5,), not (7,)']
    assert 'it has 5 classes: pass --num-classes 5' in str(caught.value)


def test_unknown_missing_and_bad_numbers_are_listed(
        tmp_path: Path, state: OrderedDict[str, torch.Tensor]) -> None:
    content = dict(state)
    del content['bn1.weight']
    content['extra.weight'] = torch.zeros(1)
    content['conv1.weight'] = torch.full_like(content['conv1.weight'], float('nan'))
    with pytest.raises(ModelError) as caught:
        load_network('resnet18', _saved(tmp_path, content))
    assert str(caught.value).splitlines()[1:] == [
        '  missing: bn1.weight', '  unknown: extra.weight',
        '  not finite: conv1.weight holds NaN or infinity']


class _Bomb:

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ('code in a checkpoint ran',))


def test_code_in_a_checkpoint_does_not_run(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match='not a checkpoint of plain tensors') as caught:
        load_network('resnet18', _saved(tmp_path, {'conv1.weight': _Bomb()}))
    assert '\n' not in str(caught.value)
    assert 'ran' not in capsys.readouterr().out


@pytest.mark.parametrize(('content', 'message'), [
    (b'', 'not a checkpoint of plain tensors'),
    (b'no tensors at all', 'not a checkpoint of plain tensors')])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / 'net.pth'
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_network('resnet18', path)


@pytest.mark.parametrize('content', [{}, [1, 2], {'epoch': 3}, {'state_dict': {'a': 1}}])
def test_files_without_a_state_dict_are_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match='holds no state dict'):
        load_network('resnet18', _saved(tmp_path, content))


def test_a_missing_file_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'no checkpoint at .*imagenet1k_v1, imagenet1k_v2, ran'):
        load_network('resnet18', tmp_path / 'none.pth')


def test_v2_of_the_small_networks_does_not_exist() -> None:
    with pytest.raises(UsageError, match='no imagenet1k_v2 checkpoint of resnet34, only of resn'):
        load_network('resnet34', 'imagenet1k_v2')
    assert best_recipe('resnet34') == 'imagenet1k_v1'
    assert best_recipe('resnet50') == 'imagenet1k_v2'


def test_published_weights_keep_their_thousand_classes() -> None:
    with pytest.raises(LabelsError, match='imagenet1k_v1 has 1000 classes, 10 were asked for'):
        load_network('resnet50', 'imagenet1k_v1', num_classes=10)


def test_published_weights_come_through_the_cache_with_their_own_rule(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, _ = load_network('resnet50', 'random')
    path = _saved(tmp_path, network.state_dict())
    asked = []

    def fetch(url: str, sha256: str, folder: Any) -> Path:
        asked.append((url, sha256, folder))
        return path

    monkeypatch.setattr('resnet_trt_node.model.weights.fetch_checkpoint', fetch)
    loaded, info = load_network('resnet50', 'imagenet1k_v2', cache=tmp_path)
    assert asked == [(
        'https://download.pytorch.org/models/resnet50-11ad3fa6.pth',
        '11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca', tmp_path)]
    assert info.short_side_of_224 == 232
    assert info.source == 'torchvision imagenet1k_v2'
    assert torch.equal(loaded.fc.weight, network.fc.weight)


def test_every_download_has_a_whole_hash_that_begins_as_its_name_says() -> None:
    assert len(PUBLISHED) == 7
    for name, sha256 in PUBLISHED.values():
        assert re.fullmatch('[0-9a-f]{64}', sha256), name
        assert name.endswith(f'-{sha256[:8]}.pth')


def test_a_checkpoint_without_a_known_hash_is_not_downloaded() -> None:
    with pytest.raises(UsageError, match=r'whole sha256 is not known here: choose imagenet1k_v1'
                       r'.*resnet152-f82ba261.pth yourself and pass --weights FILE --resize 232'):
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


def test_random_weights_tell_pictures_apart() -> None:
    network, _ = load_network('resnet18', 'random', 100, seed=0)
    with torch.no_grad():
        logits = network(torch.from_numpy(IMAGENET.apply(sample_frames(12, 64, 64, seed=9))))
    probabilities = logits.softmax(dim=1)
    assert len(set(probabilities.argmax(dim=1).tolist())) >= 6
    assert 0.05 < float(probabilities.max(dim=1).values.mean()) < 0.95


def test_odd_checkpoints_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / 'odd.pth'
    torch.save({0: torch.zeros(3)}, path)
    with pytest.raises(ModelError, match='holds no state dict'):
        load_network('resnet18', path)
    torch.save({**ResNet('resnet18', 3).state_dict(), 'fc.bias': torch.tensor(1.0)}, path)
    with pytest.raises(ModelError, match=r'fc\.bias'):
        load_network('resnet18', path)
