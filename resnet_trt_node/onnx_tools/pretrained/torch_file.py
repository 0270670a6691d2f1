"""
The tensors of a PyTorch checkpoint, read without PyTorch and without unpickling.

The format is the one before PyTorch 1.6: five pickles (a magic number, a version, the sizes of
the machine's types, the state dict, the keys of the storages), and then for each key how many
numbers its storage has, and these. A tensor is a view of a storage, by offset, size and stride.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, NoReturn, TYPE_CHECKING, Union

import numpy as np
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.pretrained.plain_pickle import Name, read_pickle
from resnet_trt_node.regular_file import read_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC, _VERSION = 0x1950a86a20f9469cfc6c, 1001
_ZIP = b'PK\x03\x04'
#: Of a file, and of its tensors.
_MAX_BYTES = 1 << 30
_DTYPES = {
    'torch.HalfStorage': '<f2', 'torch.FloatStorage': '<f4', 'torch.DoubleStorage': '<f8',
    'torch.LongStorage': '<i8'}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and stride count in numbers."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_tensors(path: Union[str, Path]) -> dict[str, NDArray[Any]]:
    """
    Read a state dict.

    :param path: what `torch.save` wrote before PyTorch 1.6.
    :returns: name to array, of the file's types, contiguous, owned by the caller.
    :raises ModelError: if the file cannot be read, is damaged, or holds other things than a state
        dict of float16, float32, float64 and int64.
    """
    try:
        data = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror or error}') from error
    try:
        if data.startswith(_ZIP):
            raise ValueError('it is a zip file, which PyTorch writes since 1.6')
        return _read(data)
    except ValueError as error:
        raise ModelError(
            f'{path} is no state dict of plain tensors in the format before PyTorch 1.6 '
            f'({error}): save it again with torch.save(network.state_dict(), path, '
            '_use_new_zipfile_serialization=False)') from error


def _read(data: bytes) -> dict[str, NDArray[Any]]:
    file = BytesIO(data)
    if _plain(file) != _MAGIC or _plain(file) != _VERSION:
        raise ValueError('it does not begin as such a file does')
    machine = _plain(file)
    if not isinstance(machine, dict) or machine.get('little_endian') is not True:
        raise ValueError('it is of a machine with another byte order')
    content = read_pickle(file, _call, _storage)
    keys = _plain(file)
    if not isinstance(content, dict) or not isinstance(keys, list):
        raise ValueError('it holds something else')
    others = [name for name, value in content.items() if not isinstance(value, _Tensor)]
    if others:
        raise ValueError(f'{others[0]!r} is no tensor')
    wanted = {value.storage for value in content.values()}
    numbers = _read_numbers(data, file.tell(), keys, wanted)
    tensors, total = {}, 0
    for name, value in content.items():
        tensors[name] = _view(numbers[value.storage], value, name)
        # Many may be views of one storage.
        total += tensors[name].nbytes
        if total > _MAX_BYTES:
            raise ValueError('its tensors together are larger than any network')
    return tensors


def _plain(file: BytesIO) -> Any:
    return read_pickle(file, _refuse, _refuse)


def _refuse(what: Any, *_: Any) -> NoReturn:
    # Only a name is told: anything else may be nested without end.
    told = what.text if isinstance(what, Name) else 'a reference'
    raise ValueError(f'{told} stands where plain values are expected')


def _call(name: Name, arguments: tuple[Any, ...]) -> Any:
    """Give what stands for a call in the state dict's pickle."""
    if name.text == 'collections.OrderedDict' and not arguments:
        return {}
    if name.text != 'torch._utils._rebuild_tensor_v2':
        raise ValueError(f'it calls {name.text}, which could run code')
    # Behind these come whether it needs a gradient, and hooks: nobody here reads them.
    storage, offset, size, stride = (*arguments, None, None, None, None)[:4]
    if not (isinstance(storage, _Storage) and _are_ints((offset,)) and _are_ints(size)
            and _are_ints(stride) and len(size) == len(stride)):
        raise ValueError('a tensor in it is not described as such')
    return _Tensor(storage, offset, size, stride)


def _are_ints(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int for value in values)


def _storage(described: Any) -> _Storage:
    """Give what stands for a storage: 'storage', its type, key, device, size and None."""
    if not (isinstance(described, tuple) and len(described) == 6 and described[0] == 'storage'
            and isinstance(described[1], Name) and isinstance(described[2], str)
            and _are_ints(described[4:5]) and described[5] is None):
        raise ValueError('a storage in it is not described as such')
    dtype = _DTYPES.get(described[1].text)
    if dtype is None:
        raise ValueError(f'{described[1].text} is none of {", ".join(_DTYPES)}')
    return _Storage(described[2], dtype, described[4])


def _read_numbers(
        data: bytes, position: int, keys: list[Any],
        wanted: set[_Storage]) -> dict[_Storage, NDArray[Any]]:
    """Return the numbers of each storage as views of the file, (count,)."""
    storages = {storage.key: storage for storage in wanted}
    if len(storages) != len(wanted) or set(storages) != {
            key for key in keys if isinstance(key, str)} or len(keys) != len(wanted):
        raise ValueError('its tensors and its storages do not belong together')
    numbers = {}
    for key in keys:
        storage = storages[key]
        start = position + 8
        position = start + storage.count * np.dtype(storage.dtype).itemsize
        if int.from_bytes(data[start - 8:start], 'little') != storage.count:
            raise ValueError(f'the storage {key!r} is of another size than its tensors say')
        if position > len(data):
            raise ValueError('it is cut off')
        numbers[storage] = np.frombuffer(data[start:position], storage.dtype)
    return numbers


def _view(numbers: NDArray[Any], tensor: _Tensor, name: str) -> NDArray[Any]:
    size, stride, count = tensor.size, tensor.stride, len(numbers)
    last = tensor.offset + sum((side - 1) * step for side, step in zip(size, stride))
    if (tensor.offset < 0 or last >= count or prod(size) > count
            or min(size, default=1) < 1 or min(stride, default=0) < 0
            or max(stride, default=0) > count):
        raise ValueError(f'{name!r} reaches beyond its storage')
    steps = [step * numbers.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset:], size, steps)
    return view.astype(numbers.dtype.newbyteorder('='), order='C')
