"""Checkpoints read without PyTorch: right values, and nothing in a file is ever run."""

from __future__ import annotations

import os
from pathlib import Path
import pickle
import re
from typing import Any, Optional

import numpy as np
import pytest
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.pretrained.torch_file import read_tensors

MAGIC = 0x1950a86a20f9469cfc6c
NUMBERS = np.arange(6, dtype='<f4')


def plain(value: Any) -> bytes:
    """Return the opcodes that push a value."""
    return pickle.dumps(value, 2)[2:-1]


def tensor(
        size: Any = (2, 3), stride: Any = (3, 1), offset: Any = 0, *, key: str = '7',
        count: Any = 6, storage: str = 'torch\nFloatStorage') -> bytes:
    """Return the opcodes that push a tensor, a view of a storage."""
    return (
        b'ctorch._utils\n_rebuild_tensor_v2\n((' + plain('storage') + f'c{storage}\n'.encode()
        + plain(key) + plain('cpu') + plain(count) + b'NtQ' + plain(offset) + plain(size)
        + plain(stride) + b'\x89ccollections\nOrderedDict\n)RtR')


def state_dict(entries: dict[str, bytes]) -> bytes:
    """Return the opcodes that push a state dict with its `_metadata`."""
    items = b''.join(plain(name) + value for name, value in entries.items())
    return b'ccollections\nOrderedDict\n)R(' + items + b'u}' + plain('_metadata') + b'}sb'


def checkpoint(
        content: bytes, storages: Optional[dict[Any, Any]] = None, magic: int = MAGIC,
        version: int = 1001, little: bool = True) -> bytes:
    """Return a file as `torch.save` wrote it before PyTorch 1.6."""
    storages = {'7': NUMBERS} if storages is None else storages
    head = (magic, version, {'protocol_version': 1001, 'little_endian': little, 'type_sizes': {}})
    return (
        b''.join(pickle.dumps(one, 2) for one in head) + b'\x80\x02' + content + b'.'
        + pickle.dumps(list(storages), 2) + b''.join(
            len(numbers).to_bytes(8, 'little') + numbers.tobytes()
            for numbers in storages.values()))


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / 'net.pth'
    path.write_bytes(data)
    return path


def refusal(tmp_path: Path, data: bytes) -> str:
    """Return why a file is refused, without its name and the advice."""
    with pytest.raises(ModelError) as raised:
        read_tensors(written(tmp_path, data))
    match = re.fullmatch(
        r'\S+net\.pth is no .* \((.*)\): save it again with .*', str(raised.value))
    assert match, raised.value
    return match[1]


def test_tensors_are_views_of_their_storages(tmp_path: Path) -> None:
    content = state_dict({
        'whole': tensor(), 'turned': tensor((3, 2), (1, 3)), 'column': tensor((2,), (3,), 1),
        'one': tensor((1, 1), (5, 1), 5), 'counter': tensor(
            (), (), key='8', count=1, storage='torch\nLongStorage'),
        'half': tensor((2,), (1,), key='9', count=2, storage='torch\nHalfStorage'),
        'double': tensor((1,), (1,), key='10', count=1, storage='torch\nDoubleStorage')})
    found = read_tensors(written(tmp_path, checkpoint(content, {
        '7': NUMBERS, '8': np.array([2**40], '<i8'), '9': np.array([0.5, 2], '<f2'),
        '10': np.array([0.1], '<f8')})))
    assert {name: (value.dtype.name, value.tolist()) for name, value in found.items()} == {
        'whole': ('float32', [[0, 1, 2], [3, 4, 5]]),
        'turned': ('float32', [[0, 3], [1, 4], [2, 5]]), 'column': ('float32', [1, 4]),
        'one': ('float32', [[5]]), 'counter': ('int64', 2**40), 'half': ('float16', [0.5, 2]),
        'double': ('float64', [0.1])}
    found['whole'][0, 0] = 9
    assert found['turned'][0, 0] == 0


@pytest.mark.slow
def test_it_reads_what_pytorch_writes(tmp_path: Path) -> None:
    torch = pytest.importorskip('torch', reason='PyTorch, which writes it, is not installed')
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = network.state_dict()
    state['turned'] = state['0.weight'].permute(3, 0, 2, 1)[1:, :, ::2]
    path = tmp_path / 'net.pth'
    torch.save(state, path, _use_new_zipfile_serialization=False)
    found = read_tensors(path)
    assert list(found) == list(state)
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.numpy(), name)
    torch.save(state, path)
    assert 'zip file, which PyTorch writes since 1.6' in refusal(tmp_path, path.read_bytes())


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what the unpickler calls."""
        return os.mkdir, (str(self.path),)


def test_what_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    victim = tmp_path / 'made'
    touch = plain(Touch(victim))
    # It would work.
    pickle.loads(b'\x80\x02' + touch + b'.')
    victim.rmdir()
    call = f'calls {os.mkdir.__module__}.mkdir, which could run code'
    assert call in refusal(tmp_path, checkpoint(touch))
    assert call in refusal(tmp_path, checkpoint(state_dict({'w': touch})))
    # In the places of plain values, and where PyTorch's own reader expects classes.
    place = checkpoint(state_dict({'w': tensor()}), {Touch(victim): NUMBERS})
    assert 'stands where plain values are expected' in refusal(tmp_path, place)
    assert 'is none of' in refusal(
        tmp_path, checkpoint(state_dict({'w': tensor(storage='os\nsystem')})))
    for data in (pickle.dumps(Touch(victim), 2), pickle.dumps(Touch(victim), 4)):
        refusal(tmp_path, data)
    assert not victim.exists()


@pytest.mark.parametrize(('opcodes', 'reason'), [
    (b'(' + plain('touch made') + b'ios\nsystem\n', 'opcode INST'),
    (b'(cos\nsystem\n' + plain('touch made') + b'o', 'opcode OBJ'),
    (b'cos\nsystem\n)\x81', 'opcode NEWOBJ'),
    (b'\x82\x01', 'opcode EXT1'),
    (b'\x8c\x02os\x8c\x06system\x93', 'opcode SHORT_BINUNICODE'),
    (b"S'text'\n", 'opcode STRING'),
    (b'}' + plain('x') + b'R', 'calls something without a name'),
    (b'cos\nsystem\n}R', 'calls something without a name'),
    (b'cbuiltins\neval\n' + plain(('1',)) + b'R', 'builtins.eval'),
    (b'cos\nsystem\n}b', 'sets attributes of something else'),
    (b'cos\nsystem\n(' + plain('a') + b'Nu', 'fills something else'),
    (b'}(Nu', 'fills something else'), (b'}(NNu', 'fills something else'),
    (b'}(NNe', 'appends to something else'),
    (b'NQ', 'a storage in it is not described'),
    (plain(('storage', 'x')) + b'Q', 'a storage in it is not described'),
    (b'ctorch._utils\n_rebuild_tensor_v2\n)R', 'a tensor in it is not described'),
    (b'h\x05', 'values that it has not made'), (b'0', 'opcode POP'), (b'', 'has not made'),
    (b'u', 'has not made'), (b'N', 'holds something else'),
    (state_dict({'w': b'cos\nsystem\n'}), "'w' is no tensor"),
    (state_dict({'w': plain(5)}), "'w' is no tensor"),
    (b'X\xff\xff\xff\x7fabc', 'expected 2147483647 bytes'),
    (b'\x8b\xff\xff\xff\x7fabc', 'not enough data'),
    (b'\xf0', 'unknown'), (b'X\x01\x00\x00\x00\xff', 'decode')])
def test_other_opcodes_are_refused(tmp_path: Path, opcodes: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, checkpoint(opcodes))


@pytest.mark.parametrize('given', [
    {'offset': 1}, {'offset': -1}, {'offset': 2**70}, {'offset': True}, {'offset': '0'},
    {'size': (2, 4)}, {'size': (2,)}, {'size': (0, 3)}, {'size': (-2, 3)}, {'size': [2, 3]},
    {'size': (2.0, 3)}, {'size': (2**40, 3), 'stride': (0, 1)}, {'stride': (4, 1)},
    {'stride': (-3, 1)}, {'size': (1, 1), 'stride': (2**70, 1)}, {'stride': (3, True)},
    {'size': (1,) * 500, 'stride': (1,) * 500}], ids=lambda given: str(given)[:60])
def test_views_beyond_their_storage_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    reason = refusal(tmp_path, checkpoint(state_dict({'w': tensor(**given)})))
    assert re.search('reaches beyond its storage|not described as such|dimension|BINFLOAT', reason)


@pytest.mark.parametrize(('data', 'reason'), [
    (checkpoint(state_dict({'w': tensor(storage='torch\nQInt8Storage')})), 'QInt8Storage is none'),
    (checkpoint(state_dict({'w': tensor(count=7)})), "storage '7' is of another size"),
    (checkpoint(state_dict({'w': tensor(count=2**70)})), "storage '7' is of another size"),
    (checkpoint(state_dict({'w': tensor(count=-6)})), "storage '7' is of another size"),
    (checkpoint(state_dict({'w': tensor(), 'v': tensor(count=7)})), 'do not belong together'),
    (checkpoint(state_dict({'w': tensor(key='6')})), 'do not belong together'),
    (checkpoint(state_dict({'w': tensor()}), {7: NUMBERS}), 'do not belong together'),
    (checkpoint(state_dict({'w': tensor()}), {}), 'do not belong together'),
    (checkpoint(state_dict({'w': tensor()}), magic=1), 'does not begin'),
    (checkpoint(state_dict({'w': tensor()}), version=2), 'does not begin'),
    (checkpoint(state_dict({'w': tensor()}), little=False), 'another byte order'),
    (b'', 'pickle exhausted'), (b'hello world', 'has not made'),
    (b'PK\x03\x04', 'zip file, which PyTorch writes since 1.6')])
def test_other_files_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, data)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = checkpoint(state_dict({'w': tensor()}))
    assert list(read_tensors(written(tmp_path, whole))) == ['w']
    for length in range(len(whole)):
        refusal(tmp_path, whole[:length])


def test_a_small_file_does_not_fill_the_memory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each byte pushes an object of 60.
    assert 'more steps than any state dict' in refusal(tmp_path, checkpoint(b']' * (1 << 20)))
    monkeypatch.setattr('resnet_trt_node.onnx_tools.pretrained.torch_file._MAX_BYTES', 100_000)
    large = {'7': np.zeros(10_000, '<f4')}
    views = {f'w{number}': tensor((10_000,), (1,), count=10_000) for number in range(3)}
    assert 'tensors together' in refusal(tmp_path, checkpoint(state_dict(views), large))
    del views['w2']
    assert len(read_tensors(written(tmp_path, checkpoint(state_dict(views), large)))) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'cannot read .*none\.pth: No such file'):
        read_tensors(tmp_path / 'none.pth')
