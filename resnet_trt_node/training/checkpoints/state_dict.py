"""Finding a network's weights in what a checkpoint holds, or naming why they are not found."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Tuple

from resnet_trt_node.errors import ModelError
from resnet_trt_node.printable import some
import torch

#: Entries that are looked into, the first that is there.
WRAPPERS = ('state_dict', 'model')
_DATA_PARALLEL = 'module.'
_AVERAGED = re.compile(r'ema|average|avg|swa|shadow', re.IGNORECASE)
#: Weights that every ResNet has, by torchvision's names.
_FIRST, _BLOCK = 'conv1.weight', 'layer1.0.conv1.weight'
_SHOWN = 3


def find_weights(content: Any, where: str) -> Tuple[Dict[str, torch.Tensor], str]:
    """
    Return the state dict of a checkpoint.

    :param content: what the file holds: the state dict, or one under one of `WRAPPERS`.
    :param where: the file, for messages.
    :returns: name to tensor, without the prefix of data-parallel training; and which of several
        state dicts it is, in words, '' if there was no choice.
    :raises ModelError: if there is none, naming the entries that look like one; or if its names
        are not torchvision's, or it has no classifier.
    """
    taken, averaged = '', []
    # Twice, since one may be within the other.
    for name in WRAPPERS * 2:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            averaged += [key for key, value in content.items()
                         if isinstance(key, str) and key != name and _AVERAGED.search(key)
                         and not isinstance(value, torch.Tensor) and _holds_weights(value)]
            content, taken = content[name], name
    if not _is_state_dict(content):
        entries = content if isinstance(content, Mapping) else {}
        others = [key for key, value in entries.items()
                  if isinstance(key, str) and _is_state_dict(value)]
        if others:
            raise ModelError(
                f'{where} holds weights under {_list(others)}, where {" or ".join(WRAPPERS)} is '
                f'looked for: save them alone, torch.save(checkpoint[{others[0]!r}], path)')
        raise ModelError(
            f'{where} holds no state dict (name to tensor): save it with '
            'torch.save(network.state_dict(), path)')
    state = {key.removeprefix(_DATA_PARALLEL): value for key, value in content.items()}
    _check_names(state, where)
    note = f'weights of {taken!r}, not the averaged ones of {_list(averaged)}' if averaged else ''
    return state, note


def _check_names(state: Mapping[str, torch.Tensor], where: str) -> None:
    """
    Refuse weights whose names are not torchvision's, or that have no classifier.

    :raises ModelError: naming their prefix, or a few of the names.
    """
    if _FIRST not in state and _BLOCK not in state:
        prefixes = sorted(
            (key[:-len(_BLOCK)] for key in state if key.endswith(f'.{_BLOCK}')), key=len)
        if prefixes:
            first = prefixes[0]
            raise ModelError(
                f'the names of the weights in {where} begin with {_list(prefixes)}, such as '
                f'{first}{_BLOCK}: save them without it, torch.save({{name[{len(first)}:]: value '
                f'for name, value in weights.items() if name.startswith({first!r})}}, path)')
        raise ModelError(
            f'{where} holds no ResNet by the names of its weights ({_list(list(state))}): pass '
            "one with torchvision's names, such as layer1.0.conv1.weight")
    if 'fc.weight' not in state and 'fc.bias' not in state:
        heads = [key for key in state
                 if not key.startswith(('conv1.', 'bn1.', 'layer'))]
        found = f'has {_list(heads)} for a classifier' if heads else 'has no classifier'
        raise ModelError(
            f'{where} {found}, where fc.weight and fc.bias are looked for, so that nobody knows '
            'its classes: save the whole network by these names')


def _is_state_dict(content: Any) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(
        isinstance(key, str) and isinstance(value, torch.Tensor)
        for key, value in content.items())


def _holds_weights(value: Any) -> bool:
    """Return whether tensors are anywhere in a value, as in the state of an averaging class."""
    inner = value.values() if isinstance(value, Mapping) else (
        value if isinstance(value, (list, tuple)) else ())
    return isinstance(value, torch.Tensor) or any(map(_holds_weights, inner))


def _list(names: List[str]) -> str:
    return some(list(map(repr, names)), _SHOWN)
