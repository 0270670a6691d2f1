"""
Which other files hold tensors of a model, read from the model's bytes.

ONNX Runtime opens such files by itself, also out of the current folder where a model comes as
bytes, and on a robot the package onnx need not be there to ask. So the few fields of its format
that matter are followed here; all else is passed over, weights included.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Tuple, Union

#: Message to the fields that may hold tensors, number to message; see onnx.proto.
_FIELDS: Dict[str, Dict[int, str]] = {
    'model': {7: 'graph', 25: 'function'},
    'graph': {1: 'node', 5: 'tensor', 15: 'sparse tensor'},
    'function': {7: 'node'},
    'node': {5: 'attribute'},
    'attribute': {5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse tensor',
                  23: 'sparse tensor'},
    'sparse tensor': {1: 'tensor', 2: 'tensor'},
    'tensor': {},
}
#: Fields of a tensor, and the value of the second that means another file.
_ENTRIES, _LOCATION, _EXTERNAL = 13, 14, 1


def external_files(data: bytes) -> List[str]:
    """
    Return the names of the files that hold tensors of a model, as it gives them, each once.

    :param data: the model file's content.
    :raises ValueError: if it is no ONNX.
    """
    names: Dict[str, None] = {}
    messages = [('model', memoryview(data))]
    # Grows meanwhile; a loop, since a model may be nested more deeply than Python calls.
    for kind, message in messages:
        fields = list(_fields(message))
        messages.extend((_FIELDS[kind][number], value) for number, value in fields
                        if number in _FIELDS[kind] and isinstance(value, memoryview))
        if kind == 'tensor' and (_LOCATION, _EXTERNAL) in fields:
            entries = [dict(_fields(value)) for number, value in fields
                       if number == _ENTRIES and isinstance(value, memoryview)]
            found = {_text(entry.get(1)): _text(entry.get(2)) for entry in entries}
            names[found.get('location', '')] = None
    if all(kind != 'graph' for kind, _ in messages):
        raise ValueError('it has no graph')
    return list(names)


def _text(value: Union[int, memoryview, None]) -> str:
    return bytes(value).decode('utf-8', 'replace') if isinstance(value, memoryview) else ''


def _fields(message: memoryview) -> Iterator[Tuple[int, Union[int, memoryview]]]:
    """Yield number and value of each field of a protobuf message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag & 7 == 0:
            number, place = _varint(message, place)
            yield tag >> 3, number
            continue
        if tag & 7 == 2:
            size, place = _varint(message, place)
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
        else:
            raise ValueError('it is no protobuf message')
        if place + size > len(message):
            raise ValueError('it is cut off')
        yield tag >> 3, message[place:place + size]
        place += size


def _varint(message: memoryview, place: int) -> Tuple[int, int]:
    """Return a number and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError('it is cut off')
        value |= (message[place] & 127) << shift
        place += 1
        if message[place - 1] < 128:
            return value, place
    raise ValueError('it is no protobuf message')
