"""Finding a network's weights in what a checkpoint holds, or naming why they are not found."""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from resnet_trt_node.errors import ModelError
from resnet_trt_node.text.printable import some
import torch

#: Entries that training programs keep the weights under.
WRAPPERS = (
    'state_dict', 'model_state_dict', 'model', 'net', 'network', 'module', 'weights', 'params')
#: What compiled, parallel, averaged and Lightning's networks put before the names.
PREFIXES = ('_orig_mod', 'module', 'model', 'net', 'network')
#: How to deploy what is no plain ResNet.
OTHER_WAY = 'export the network itself with torch.onnx.export, then use `resnet_trt prepare`'
#: Entries within entries: Lightning keeps the state of each callback three deep.
_DEPTH = 4
#: ema, model_ema, EMAWeights, ModelEmaV2 and the like, but neither semantic nor avgpool.
_AVERAGED = re.compile(
    r'(?<![A-Za-z])(?i:ema|swa|avg)(?![a-z])|(?<=[a-z])(?:Ema|EMA|Swa|SWA)(?![a-z])'
    '|(?i:averag|shadow)')
#: Counts the steps of PyTorch's AveragedModel.
_COUNTER = 'n_averaged'
#: A weight that every ResNet has, by torchvision's names.
_BLOCK = 'layer1.0.conv1.weight'
_BODY = ('conv1.', 'bn1.', 'layer')
_SHOWN = 3


@dataclass(frozen=True)
class FoundWeights:
    """
    The weights that were chosen in a checkpoint.

    :param state: name to tensor, with torchvision's names.
    :param choice: which of several networks it is, in words; '' if there is only one.
    :param assumptions: what was assumed, a sentence each.
    """

    state: Dict[str, torch.Tensor]
    choice: str
    assumptions: Tuple[str, ...]


@dataclass(frozen=True)
class _Network:
    """
    Weights with the names of a ResNet.

    :param path: entries that lead to the state dict.
    :param prefix: of their names in it, '' or with a dot at the end.
    :param content: the state dict.
    """

    path: Tuple[str, ...]
    prefix: str
    content: Mapping[str, torch.Tensor]

    @property
    def parts(self) -> Tuple[str, ...]:
        """Return the entries and the parts of the prefix."""
        return (*self.path, *self.prefix.split('.')[:-1])

    @property
    def name(self) -> str:
        """Return it for messages; a state dict that is the whole file has no name."""
        return repr('.'.join(self.parts)) if self.parts else 'the file itself'

    @property
    def averaged(self) -> bool:
        """Return whether these are averaged weights, by the names that lead to them."""
        counted = any(
            key.endswith(_COUNTER) and self.prefix.startswith(key[:-len(_COUNTER)])
            for key in self.content)
        return counted or any(map(_AVERAGED.search, self.parts))

    @property
    def usual(self) -> bool:
        """Return whether a training program keeps its network there."""
        return all(part in WRAPPERS or _AVERAGED.search(part) for part in self.path) and all(
            part in PREFIXES or _AVERAGED.search(part) for part in self.prefix.split('.')[:-1])


def find_weights(content: Any, where: str, averaged: Optional[bool] = None) -> FoundWeights:
    """
    Return the weights of the ResNet in a checkpoint.

    They may be anywhere in the file and have any prefix, so long as it is clear which ones are
    meant: what training programs usually call the network goes first.

    :param content: what the file holds.
    :param where: the file, for messages.
    :param averaged: True takes averaged weights, False those that they were made from; None takes
        these too, and the averaged ones where there are no others.
    :raises ModelError: if there is no ResNet, several that could be meant, or more than a ResNet
        with one linear classifier.
    """
    networks = [
        _Network(path, prefix, state) for path, state in _state_dicts(content)
        for prefix in _prefixes(state)]
    if not networks:
        raise _no_network(content, where)
    chosen = _choose(networks, content, where, averaged)
    others = [one for one in networks if one is not chosen]
    size = len(chosen.prefix)
    within = tuple(one.prefix for one in others
                   if one.content is chosen.content and len(one.prefix) > size)
    state = {key[size:]: value for key, value in chosen.content.items()
             if key.startswith(chosen.prefix) and not key.startswith(within)
             and not key.endswith(_COUNTER)}
    state, head = _with_classifier(state, where)
    choice, way = _choice(chosen, others, _nameless_averages(content, chosen))
    assumptions = [
        choice and choice + way,
        chosen.prefix and f'the names of the weights begin with {chosen.prefix!r}, which is left '
        'out',
        _beside(chosen, networks, where), head]
    return FoundWeights(state, choice, tuple(filter(None, assumptions)))


def _state_dicts(
        content: Any, path: Tuple[str, ...] = ()) -> Iterator[
            Tuple[Tuple[str, ...], Mapping[str, torch.Tensor]]]:
    """Give every state dict of a checkpoint, with the entries that lead to it."""
    if _is_state_dict(content):
        yield path, content
    elif isinstance(content, Mapping) and len(path) < _DEPTH:
        for key, value in content.items():
            if isinstance(key, str):
                yield from _state_dicts(value, (*path, key))


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor)
        for key, value in content.items())


def _prefixes(state: Mapping[str, torch.Tensor]) -> List[str]:
    """Return what the names of each ResNet in a state dict begin with."""
    return [key[:-len(_BLOCK)] for key in state
            if key == _BLOCK or key.endswith(f'.{_BLOCK}')]


def _choose(
        networks: Sequence[_Network], content: Any, where: str,
        averaged: Optional[bool]) -> _Network:
    """
    Return the network that is meant.

    :raises ModelError: if there is none of the kind that was asked for, or several.
    """
    plain = [one for one in networks if not one.averaged]
    means = [one for one in networks if one.averaged]
    if averaged and not means:
        nameless = _nameless_averages(content, plain[0])
        raise ModelError(
            f'{where} holds averaged weights without names, in {_list(nameless)}: copy them into '
            'the network, and save that' if nameless else
            f'{where} holds no averaged weights, only {_names(plain)}: leave --ema away')
    if averaged is False and not plain:
        raise ModelError(
            f'{where} holds only averaged weights, {_names(means)}: leave --no-ema away')
    meant = means if averaged or not plain else plain
    usual = [one for one in meant if one.usual] or meant
    if len(usual) > 1:
        raise ModelError(
            f'{where} holds {len(usual)} networks, {_names(usual)}, and nothing says which is '
            'meant: save the one that you want alone, with torch.save(its state dict, path)')
    return usual[0]


def _choice(
        chosen: _Network, others: Sequence[_Network],
        nameless: Sequence[str]) -> Tuple[str, str]:
    """Return which weights were taken, '' without a choice; and how to get the others."""
    plain = [one.name for one in others if not one.averaged]
    means = [one.name for one in others if one.averaged]
    if chosen.averaged:
        left = f', not those of {some(plain, _SHOWN)}' if plain else ''
        return (f'averaged weights of {chosen.name}{left}',
                ': --no-ema takes these' if plain else '')
    kinds = [f'those of {some(plain, _SHOWN)}'] if plain else []
    if means or nameless:
        kinds.append(f'the averaged ones of {some([*means, *map(repr, nameless)], _SHOWN)}')
    if not kinds:
        return '', ''
    return (f'weights of {chosen.name}, not {" and ".join(kinds)}',
            ': --ema takes the averaged ones' if means else '')


def _nameless_averages(content: Any, chosen: _Network) -> List[str]:
    """Return the entries beside a network that hold averaged weights without their names."""
    found = []
    for step in chosen.path:
        found += [
            key for key, value in content.items()
            if isinstance(key, str) and key != step and _AVERAGED.search(key)
            and not isinstance(value, torch.Tensor) and _holds_tensors(value)
            and not any(_prefixes(state) for _, state in _state_dicts(value))]
        content = content[step]
    return found


def _holds_tensors(value: Any) -> bool:
    """Return whether tensors are anywhere in a value, as in the state of an averaging class."""
    inner = value.values() if isinstance(value, Mapping) else (
        value if isinstance(value, (list, tuple)) else ())
    return isinstance(value, torch.Tensor) or any(map(_holds_tensors, inner))


def _beside(chosen: _Network, networks: Sequence[_Network], where: str) -> str:
    """
    Return what is said of the tensors beside a network, such as the class weights of a loss.

    :raises ModelError: if one is a layer's weight, so that the network goes on there.
    """
    own = [one.prefix for one in networks if one.path == chosen.path]
    left = [key for key in chosen.content
            if not key.startswith(tuple(own)) and not key.endswith(_COUNTER)]
    layers = [key for key in left if key.endswith('weight') and chosen.content[key].ndim > 1]
    if layers:
        raise ModelError(
            f'{where} holds {_list(layers)} beside the ResNet {chosen.name}, so that the network '
            f'is more than a ResNet: {OTHER_WAY}')
    return f'{_list(left)} beside the network: not used' if left else ''


def _with_classifier(
        state: Dict[str, torch.Tensor], where: str) -> Tuple[Dict[str, torch.Tensor], str]:
    """
    Return a state dict whose linear classifier is called fc, and what was assumed for that.

    :raises ModelError: if it has no classifier, or one of several layers.
    """
    if 'fc.weight' in state or 'fc.bias' in state:
        return state, ''
    heads = [key for key in state if not key.startswith(_BODY)]
    linear = [key[:-len('.weight')] for key in heads
              if key.endswith('.weight') and state[key].ndim == 2]
    if len(linear) == 1 and {*heads} == {f'{linear[0]}.weight', f'{linear[0]}.bias'}:
        renamed = {
            f'fc.{key[len(linear[0]) + 1:]}' if key in heads else key: value
            for key, value in state.items()}
        return renamed, (
            f'{linear[0]!r} is the classifier; layers without weights around it, such as dropout '
            'or a log-softmax, are taken to change nothing')
    if not heads:
        raise ModelError(
            f'{where} has no classifier, so that nobody knows its classes: save the whole '
            'network, with its linear layer fc')
    raise ModelError(
        f'{where} has {_list(heads)} for a classifier, where one linear layer such as fc.weight '
        f'and fc.bias is looked for: {OTHER_WAY}')


def _no_network(content: Any, where: str) -> ModelError:
    names = [key for _, state in _state_dicts(content) for key in state]
    if not names:
        return ModelError(
            f'{where} holds no state dict (name to tensor): save it with '
            'torch.save(network.state_dict(), path)')
    return ModelError(
        f'{where} holds no ResNet by the names of its {len(names)} tensors ({_list(names)}): pass '
        f"one with torchvision's names, such as {_BLOCK}, or {OTHER_WAY}")


def _names(networks: Sequence[_Network]) -> str:
    return some([one.name for one in networks], _SHOWN)


def _list(names: Sequence[str]) -> str:
    return some(list(map(repr, names)), _SHOWN)
