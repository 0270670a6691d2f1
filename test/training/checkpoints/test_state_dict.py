"""Which weights of a checkpoint are meant, and what is said of that; on dictionaries, no files."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from resnet_trt_node.errors import ModelError
from resnet_trt_node.training.checkpoints.state_dict import find_weights
import torch

pytestmark = pytest.mark.slow


def _weights(value: float = 1.0, prefix: str = '', head: str = 'fc') -> dict[str, torch.Tensor]:
    """Return the names that tell a ResNet, with a number by which weights are told apart."""
    return {
        f'{prefix}conv1.weight': torch.full((4, 3, 1, 1), value),
        f'{prefix}layer1.0.conv1.weight': torch.full((4, 4, 1, 1), value),
        f'{prefix}{head}.weight': torch.full((2, 4), value),
        f'{prefix}{head}.bias': torch.full((2,), value)}


NAMES = set(_weights())
RAW, MEAN = _weights(1.0), _weights(2.0)
COUNTER = {'n_averaged': torch.tensor(7)}


def _check(content: Any, value: float, averaged: Optional[bool] = None) -> tuple[str, ...]:
    found = find_weights(content, 'net.pth', averaged)
    assert set(found.state) == NAMES
    assert all(bool((tensor == value).all()) for tensor in found.state.values())
    return found.assumptions


@pytest.mark.parametrize('entry', [
    'state_dict', 'model_state_dict', 'model', 'net', 'network', 'module', 'weights', 'best'])
def test_weights_under_any_entry_are_found(entry: str) -> None:
    assert _check({'epoch': 3, entry: RAW, 'optimizer': {'state': {0: RAW['fc.bias']}}}, 1) == ()


@pytest.mark.parametrize('prefix', [
    'module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.', 'model.', 'net.',
    'model._orig_mod.', 'model.net.module._orig_mod.', 'backbone.', 'encoder.net.'])
@pytest.mark.parametrize('entries', [(), ('state_dict',), ('a', 'b')])
def test_any_prefix_is_left_out_and_said(prefix: str, entries: tuple[str, ...]) -> None:
    content: Any = _weights(prefix=prefix)
    for entry in entries:
        content = {entry: content}
    said, = _check(content, 1)
    assert said == f'the names of the weights begin with {prefix!r}, which is left out'


@pytest.mark.parametrize('entry', [
    'state_dict_ema', 'model_ema', 'ema', 'EMA', 'ema_state_dict', 'swa_model', 'averaged_model',
    'avg', 'shadow'])
def test_of_raw_and_averaged_weights_the_asked_ones_are_taken(entry: str) -> None:
    content = {'state_dict': RAW, entry: MEAN}
    for asked in (None, False):
        assert _check(content, 1, asked) == (
            f"weights of 'state_dict', not the averaged ones of '{entry}': --ema takes the "
            'averaged ones',)
    assert _check(content, 2, True) == (
        f"averaged weights of '{entry}', not those of 'state_dict': --no-ema takes these",)


@pytest.mark.parametrize('content', [
    # torchvision's own training program.
    {'model': RAW, 'model_ema': {**_weights(2, 'module.'), **COUNTER}},
    # Both in one state dict, as a Lightning module has them.
    {'state_dict': {**_weights(1, 'model.'), **_weights(2, 'ema_model.module.'),
                    'ema_model.n_averaged': torch.tensor(7)}},
    {'state_dict': {**RAW, **_weights(2, 'ema.')}},
    # Told by the counter of PyTorch's class alone.
    {'model': RAW, 'other': {**_weights(2, 'module.'), **COUNTER}},
    # A callback of Lightning.
    {'state_dict': RAW, 'callbacks': {'EMAWeights': {'state': {'params': MEAN}}}}])
def test_both_are_found_wherever_they_are(content: Any) -> None:
    _check(content, 1)
    _check(content, 1, False)
    _check(content, 2, True)


def test_averaged_weights_alone_are_taken_and_said() -> None:
    said = _check({**_weights(2, 'module.'), **COUNTER}, 2)
    assert said == (
        "averaged weights of 'module'",
        "the names of the weights begin with 'module.', which is left out")
    assert _check({'ema': MEAN}, 2) == ("averaged weights of 'ema'",)
    with pytest.raises(ModelError, match="only averaged weights, 'ema': leave --no-ema away"):
        find_weights({'ema': MEAN}, 'net.pth', False)


def test_averaged_weights_that_are_not_there_are_not_made_up() -> None:
    with pytest.raises(ModelError, match="no averaged weights, only 'state_dict': leave --ema"):
        find_weights({'state_dict': RAW}, 'net.pth', True)
    nameless = {'model': RAW, 'ema': {'decay': 0.9, 'shadow_params': [*MEAN.values()]}}
    assert _check(nameless, 1) == ("weights of 'model', not the averaged ones of 'ema'",)
    with pytest.raises(ModelError, match="averaged weights without names, in 'ema'"):
        find_weights(nameless, 'net.pth', True)


@pytest.mark.parametrize('word', ['semantic', 'schema', 'average_precision_net'])
def test_words_that_only_look_averaged(word: str) -> None:
    expected = () if 'average' not in word else (f'averaged weights of {word!r}',)
    assert _check({word: RAW}, 1) == expected


def test_the_usual_place_goes_before_others_which_are_named() -> None:
    said, = _check({'state_dict': RAW, 'teacher': MEAN}, 1)
    assert said == "weights of 'state_dict', not those of 'teacher'"
    said, _ = _check({**_weights(1, 'model.'), **_weights(2, 'teacher.')}, 1)
    assert said == "weights of 'model', not those of 'teacher'"


@pytest.mark.parametrize('content', [
    {'model': RAW, 'net': MEAN}, {'encoder_q': RAW, 'encoder_k': MEAN},
    {**_weights(1, 'left.'), **_weights(2, 'right.')}])
def test_networks_of_which_any_may_be_meant_are_counted_and_named(content: Any) -> None:
    first, second = ('left', 'right') if len(content) > 2 else content
    with pytest.raises(
            ModelError, match=f"net.pth holds 2 networks, '{first}', '{second}'.*torch.save"):
        find_weights(content, 'net.pth')


def test_tensors_beside_the_network_are_named() -> None:
    _, said = _check({'state_dict': {
        **_weights(prefix='net.'), 'criterion.weight': torch.ones(2), 'mean': torch.ones(3)}}, 1)
    assert said == "'criterion.weight', 'mean' beside the network: not used"


def test_a_network_that_goes_on_beside_the_resnet_is_refused() -> None:
    content = {**_weights(prefix='backbone.'), 'head.weight': torch.ones(5, 2)}
    with pytest.raises(ModelError, match=r"'head.weight' beside .*'backbone'.*prepare"):
        find_weights(content, 'net.pth')


@pytest.mark.parametrize('head', ['fc.1', 'fc.0', 'fc.linear', 'classifier', 'last_linear'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_linear_classifier_of_another_name_is_taken_and_said(head: str, prefix: str) -> None:
    said = _check(_weights(prefix=prefix, head=head), 1)[-1]
    assert said.startswith(f'{head!r} is the classifier; layers without weights around it')


def test_classifiers_that_are_not_one_linear_layer_are_refused() -> None:
    several = {**_weights(head='fc.0'), 'fc.3.weight': torch.ones(2, 2)}
    with pytest.raises(ModelError, match=r"'fc.0.weight', 'fc.0.bias', 'fc.3.weight' .*prepare"):
        find_weights(several, 'net.pth')
    norm = {**_weights(head='fc.1'), 'fc.0.running_mean': torch.ones(4)}
    with pytest.raises(ModelError, match=r"'fc.0.running_mean' .*prepare"):
        find_weights(norm, 'net.pth')
    none = {key: value for key, value in RAW.items() if not key.startswith('fc.')}
    with pytest.raises(ModelError, match='no classifier'):
        find_weights(none, 'net.pth')


def test_another_network_is_refused_with_what_was_found() -> None:
    other = {f'features.{index}.weight': torch.zeros(1) for index in range(12)}
    with pytest.raises(
            ModelError, match=r"no ResNet .*12 tensors \('features\.0\.weight', .* and 9 more\).*"
            'torch.onnx.export.*prepare'):
        find_weights({'model': other}, 'net.pth')
