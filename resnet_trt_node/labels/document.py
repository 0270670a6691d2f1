"""
Class names in what a JSON or YAML file, or the metadata of an ONNX file, holds.

The forms are those of Hugging Face (id2label), timm (label_names), Ultralytics (names), Keras
(class_index.json), TorchServe (index_to_name.json) and their like.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Callable, Mapping, Optional, Union

from resnet_trt_node.errors import LabelsError
from resnet_trt_node.labels.names import HOW_TO_NUMBER
from resnet_trt_node.labels.table import WORDNET_ID
from resnet_trt_node.text.printable import printable

#: Where other programs keep the names within a larger document, the surest first.
_KEYS = (
    'id2label', 'label2id', 'names', 'class_names', 'classes', 'labels', 'label_names',
    'idx2label', 'idx_to_class', 'class_to_idx', 'label2idx', 'index_to_name', 'categories',
    'vocab', 'mapping')
#: Where they state the number of classes beside them.
_COUNTS = ('nc', 'num_classes', 'num_labels')
#: Parts of a document that may hold the names for it.
_PARTS = ('pretrained_cfg', 'model', 'config', 'dataset')
_ID_KEYS = ('id', 'index', 'class_id', 'class_index', 'idx')
_NAME_KEYS = ('name', 'label', 'class_name', 'display_name')
_NUMBER = re.compile(r'[0-9]{1,9}')
#: Text of metadata longer than this is no list of names.
_MAX_TEXT = 16 << 20
_Pair = tuple[int, str]
_Say = Callable[[str], None]
#: Names in a list, or each with its number.
Names = Union[list[str], list[_Pair]]


def names_of_document(found: Any, where: str, say: _Say) -> Names:
    """
    Return the names of what a JSON or YAML file holds.

    :param found: the document.
    :param where: what it is called in messages.
    :param say: told what was assumed.
    :returns: plain text for a list of names; otherwise number and name of each class.
    :raises LabelsError: if it holds no names, or different ones.
    """
    names = None
    if isinstance(found, dict):
        names = _under_keys(found, where, say)
    if names is None:
        names = _names(found, where, say)
    if names is None:
        raise LabelsError(
            f'{where} holds neither a list of names nor a mapping between numbers and names: '
            f'{HOW_TO_NUMBER}; put names such as no, yes or 3 in quotes')
    return names


def names_in_metadata(
        metadata: Mapping[str, str], where: str, say: _Say) -> Optional[tuple[str, Names]]:
    """
    Return the names in an ONNX file's metadata, as Ultralytics and others write them.

    :param metadata: its properties.
    :param where: what the file is called in messages.
    :param say: told what was assumed.
    :returns: the key and its names, None if there are none.
    """
    for key in _KEYS:
        text = metadata.get(key, '')
        if not text.strip() or len(text) > _MAX_TEXT:
            continue
        document = _parsed(text)
        if document is None:
            lines = [line.strip() for line in text.strip().splitlines()]
            names: Optional[Names] = lines if len(lines) > 1 else None
        else:
            names = _names(document, where, say)
        if names:
            return key, names
    return None


def _parsed(text: str) -> Any:
    """Return what a text in JSON or as Python prints it holds, None if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


def _under_keys(found: Mapping[str, Any], where: str, say: _Say) -> Optional[Names]:
    """Return the names under the usual keys of a document."""
    candidates: list[tuple[str, Names]] = []
    for part in (found, *(found[key] for key in _PARTS if isinstance(found.get(key), dict))):
        for key in _KEYS:
            value = part.get(key)
            names = _names(value, where, say) if isinstance(value, (dict, list)) else None
            if names:
                candidates.append((key, _described(names, part, where, say)))
    if not candidates:
        return _only_value(found, where, say)
    key, names = candidates[0]
    for other, others in candidates[1:]:
        if _by_number(others) == _by_number(names):
            continue
        if (key, other) == _KEYS[:2]:
            # Transformers names its answers by the first; the second goes stale.
            say(f'{where}: the names are those of {key}; {other} differs')
        else:
            raise LabelsError(
                f'{where}: {key} and {other} hold different names, so it could be read two ways: '
                'leave one of them out')
    for count in _COUNTS:
        if isinstance(found.get(count), int) and found[count] != len(names):
            raise LabelsError(
                f'{where}: {key} holds {len(names)} names, and {count} says {found[count]}: '
                'correct one of them')
    return names


def _only_value(found: Mapping[str, Any], where: str, say: _Say) -> Optional[Names]:
    """Return the names under the only key whose value is a list or mapping."""
    keys = [key for key, value in found.items() if isinstance(value, (dict, list))]
    if len(keys) != 1 or _names(found, where, say) is not None:
        return None
    names = _names(found[keys[0]], where, say)
    if names is not None:
        say(f'{where}: the names are those under {printable(repr(keys[0]), 40)}')
    return names


def _described(
        names: Names, part: Mapping[str, Any], where: str, say: _Say) -> Names:
    """Return timm's descriptions of WordNet ids instead of these, where they are there."""
    texts = part.get('label_descriptions')
    ids = [one for one in names if isinstance(one, str) and WORDNET_ID.fullmatch(one)]
    if not isinstance(texts, dict) or len(ids) < len(names) or not all(
            isinstance(texts.get(one), str) for one in ids):
        return names
    say(f'{where}: the names are those of label_descriptions for the WordNet ids')
    return [str(texts[one]).strip() for one in ids]


def _names(found: Any, where: str, say: _Say) -> Optional[Names]:
    """Return the names of a list or mapping in any of its forms, None if it has none."""
    if isinstance(found, dict):
        items: list[Any] = list(found.items())
    else:
        items = list(found) if isinstance(found, (list, tuple)) else []
    if not items:
        return None
    texts = [one.strip() for one in items if isinstance(one, str)]
    if len(texts) == len(items):
        return texts
    pairs = [pair for pair in map(_pair, items) if pair is not None]
    if len(pairs) == len(items):
        return pairs
    return _by_wordnet(items, isinstance(found, dict), where, say)


def _by_wordnet(items: list[Any], mapping: bool, where: str, say: _Say) -> Optional[Names]:
    """Return the names of pairs of a WordNet id and a name."""
    pairs = [
        (one[0], one[1].strip()) for one in items if isinstance(one, (list, tuple))
        and len(one) == 2 and all(isinstance(side, str) for side in one)
        and WORDNET_ID.fullmatch(one[0])]
    if len(pairs) < len(items):
        return None
    if mapping and pairs != sorted(pairs, key=lambda pair: pair[0]):
        raise LabelsError(
            f'{where}: its WordNet ids are out of order, so it could be read two ways, as it '
            f'stands or sorted: {HOW_TO_NUMBER}')
    say(f'{where}: no number of a class is there; the names are taken in their order')
    return [name for _, name in pairs]


def _pair(item: Any) -> Optional[_Pair]:
    """Return number and name of an item in any of its forms, None if it has neither."""
    if isinstance(item, dict):
        sides = [next((item[key] for key in keys if key in item), None)
                 for keys in (_ID_KEYS, _NAME_KEYS)]
    else:
        sides = list(item) if isinstance(item, (list, tuple)) else []
    if len(sides) != 2:
        return None
    for number, name in (sides, sides[::-1]):
        if isinstance(name, list) and name and all(isinstance(one, str) for one in name):
            # As in Keras's imagenet_class_index.json: WordNet's number, then the name.
            name = name[-1]
        elif isinstance(name, dict):
            name = next((name[key] for key in _NAME_KEYS if key in name), None)
        # A JSON object's keys are text always.
        if isinstance(name, str) and (type(number) is int or (
                isinstance(number, str) and _NUMBER.fullmatch(number.strip()))):
            return int(number), name.strip()
    return None


def _by_number(names: Names) -> dict[int, str]:
    """Return names by their numbers, whatever form they came in."""
    return {
        **{place: one for place, one in enumerate(names) if isinstance(one, str)},
        **dict(one for one in names if not isinstance(one, str))}
