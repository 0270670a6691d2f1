"""Training: it learns, resumes exactly, lets others touch each step, and reports why it stops."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Iterator

import numpy as np
from pictures.shapes import CLASSES, write_shapes
import pytest
from resnet_trt_node.errors import BackendError, DataError, UsageError
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.training import loop as training_module
from resnet_trt_node.training.checkpoints.initial_network import initial_network
from resnet_trt_node.training.data.dataset import DataSplit, load_data, TrainingData
from resnet_trt_node.training.data.pictures import StreamedPictures
from resnet_trt_node.training.loop import Training
from resnet_trt_node.training.settings import TrainingSettings
import torch
from torch import nn

pytestmark = pytest.mark.slow

CPU = torch.device('cpu')
SIDE = 32
#: In which shapes are learnt.
EPOCHS = 16
#: Epoch metrics that are times.
TIMES = ('pictures_per_s', 'train_s', 'validation_s')


@pytest.fixture(scope='module')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 3 x 24 pictures of shapes."""
    return write_shapes(tmp_path_factory.mktemp('shapes') / 'data', 24)


@pytest.fixture(scope='module')
def split(shapes: Path) -> Iterator[DataSplit]:
    """Return the pictures, a quarter of them to measure with."""
    with DataSplit(shapes, share=0.25, seed=1) as found:
        yield found


@pytest.fixture(scope='module')
def data(split: DataSplit) -> TrainingData:
    """Return the pictures in memory."""
    return load_data(split, SIDE, None, CPU)


def network(seed: int = 0) -> Any:
    """Return a fresh ResNet-18 of three classes."""
    return initial_network('resnet18', 'random', CLASSES, seed)[0]


def numbers(training: Training) -> list[dict[str, Any]]:
    """Return the history without times."""
    return [
        {name: value for name, value in asdict(one).items() if name not in TIMES}
        for one in training.history]


def test_the_split_is_stratified_seeded_and_disjoint(shapes: Path, split: DataSplit):
    train = {item.name for item in split.train_items}
    measured = {item.name for item in split.validation_items}
    assert not train & measured
    assert len(train | measured) == split.count == 72
    for target in range(3):
        assert sum(item.target == target for item in split.validation_items) == 6
    with DataSplit(shapes, share=0.25, seed=1) as again, \
            DataSplit(shapes, share=0.25, seed=2) as other:
        assert {item.name for item in again.validation_items} == measured
        assert again.fingerprint() == split.fingerprint()
        assert {item.name for item in other.validation_items} != measured
        assert other.fingerprint() != split.fingerprint()


def test_validation_pictures_are_what_the_deployed_model_is_given(split, data):
    item = split.validation_items[4]
    out = np.empty((SIDE, SIDE, 3), np.uint8)
    Resizer(data.rule).resize(split.validation.frame(item), out)
    np.testing.assert_array_equal(data.validation.pictures[4].numpy(), out)
    assert int(data.validation.targets[4]) == item.target


def test_small_pictures_are_not_cropped_when_measured_large_ones_are(split, tmp_path):
    assert load_data(split, SIDE, None, CPU).rule.short_side == SIDE
    assert load_data(split, SIDE, 40, CPU).rule.short_side == 40
    with DataSplit(write_shapes(tmp_path / 'large', 2, side=80)) as large:
        assert load_data(large, SIDE, None, CPU).rule.short_side == round(SIDE * 256 / 224)


def test_it_learns(data):
    training = Training(
        network(), data, TrainingSettings(
            epochs=EPOCHS, batch_size=18, lr=0.03, label_smoothing=0.0, min_scale=0.6),
        device=CPU)
    metrics = list(training.epochs())
    assert [one.epoch for one in metrics] == list(range(1, EPOCHS + 1))
    # Three classes: chance is a third, and the loss of no knowledge ln 3 = 1.1.
    assert metrics[-1].train_loss < 0.3 * metrics[0].train_loss
    assert metrics[-1].validation_top1 >= 0.9
    assert metrics[-1].train_top1 is not None
    assert metrics[-1].train_top1 >= 0.8
    assert metrics[-1].validation_top5 == 1
    assert training.validate(full_precision=True).top1 == metrics[-1].validation_top1


@pytest.mark.parametrize('recipe', [
    {}, {'mix': 'cutmix', 'ema': 0.9, 'colour': 0.3, 'auto_augment': 'trivial'}
], ids=['plain', 'everything'])
def test_resumed_equals_unbroken_bit_for_bit(data, recipe):
    settings = TrainingSettings(epochs=3, batch_size=16, lr=0.02, **recipe)
    unbroken = Training(network(), data, settings, device=CPU)
    states = []
    for _ in unbroken.epochs():
        if unbroken.epoch == 1:
            states.append({name: value.clone() if isinstance(value, torch.Tensor) else value
                           for name, value in _flat(unbroken.state_dict()).items()})
    broken = Training(network(), data, settings, device=CPU)
    next(broken.epochs())
    saved = broken.state_dict()
    assert _same(_flat(saved), states[0])
    resumed = Training(network(seed=9), data, settings, device=CPU)
    resumed.load_state_dict(saved)
    assert resumed.epoch == 1
    torch.rand(5)  # the caller's random state plays no part
    list(resumed.epochs())
    assert numbers(resumed) == numbers(unbroken)
    first, second = _flat(unbroken.state_dict()), _flat(resumed.state_dict())
    assert _same(
        {key: value for key, value in first.items() if 'history' not in key},
        {key: value for key, value in second.items() if 'history' not in key})


def _flat(value: Any, name: str = '') -> dict[str, Any]:
    if isinstance(value, dict):
        parts = [_flat(one, f'{name}.{key}') for key, one in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [_flat(one, f'{name}.{place}') for place, one in enumerate(value)]
    else:
        return {name: value}
    return {key: one for part in parts for key, one in part.items()}


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    names = [name for name in first if not name.endswith(TIMES)]
    assert names == [name for name in second if not name.endswith(TIMES)]
    return all(
        torch.equal(first[name], second[name]) if isinstance(first[name], torch.Tensor)
        else first[name] == second[name] for name in names)


def test_streamed_pictures_train_like_stored_ones(split, data):
    streamed = load_data(split, SIDE, None, CPU, budget=0, workers=2)
    assert isinstance(streamed.train, StreamedPictures)
    settings = TrainingSettings(epochs=2, batch_size=16, lr=0.02)
    trainings = [
        Training(network(), one, settings, device=CPU) for one in (data, streamed)]
    for one in trainings:
        list(one.epochs())
    assert numbers(trainings[0]) == numbers(trainings[1])


def test_each_step_can_be_followed_by_a_mask_on_weights_and_average(data):
    mask = torch.rand(64, 3, 7, 7, generator=torch.Generator().manual_seed(2)) < 0.5
    touched = []

    @torch.no_grad()
    def after_step(module: nn.Module) -> None:
        touched.append(module)
        module.conv1.weight.mul_(mask)  # type: ignore[union-attr,operator,arg-type]

    notes: list[str] = []
    trained = network()
    training = Training(
        trained, data, TrainingSettings(epochs=2, batch_size=18, ema=0.9), device=CPU,
        after_step=after_step)
    list(training.epochs(notes.append))
    result = training.result
    assert len(notes) == 2 * 3
    assert len(touched) == 2 * 2 * 3
    assert not result.training
    for one in (trained, result):
        assert not one.conv1.weight[~mask].any()
        assert one.conv1.weight[mask].all()  # type: ignore[union-attr,index]
    # What is kept is the average.
    assert not torch.equal(trained.conv1.weight, result.conv1.weight)  # type: ignore[arg-type]


def test_norms_and_biases_do_not_decay(data):
    training = Training(network(), data, TrainingSettings(weight_decay=0.1), device=CPU)
    decay = {
        id(parameter): group['weight_decay']
        for group in training._optimizer.param_groups for parameter in group['params']}
    assert {decay[id(one)] for one in training.network.parameters() if one.ndim > 1} == {0.1}
    assert {decay[id(one)] for one in training.network.parameters() if one.ndim <= 1} == {0.0}
    assert len(decay) == len(list(training.network.parameters()))


def test_a_diverging_loss_stops_with_step_and_remedy(data):
    training = Training(
        network(), data, TrainingSettings(epochs=3, batch_size=18, lr=900.0, warmup_epochs=0),
        device=CPU)
    with pytest.raises(
            BackendError, match=r'(nan|inf) at step \d .*lower --lr'):
        list(training.epochs())


@pytest.mark.parametrize('error', [
    torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB'), MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED')],
    ids=['gpu', 'python', 'cpu', 'cudnn'])
def test_too_little_memory_suggests_half_the_batch(data, monkeypatch, error):
    def no_memory(*_: Any) -> None:
        raise error

    training = Training(network(), data, TrainingSettings(batch_size=32), device=CPU)
    monkeypatch.setattr(training_module, 'crop_and_resize', no_memory)
    with pytest.raises(BackendError, match=r'32 pictures .*--batch-size 16'):
        list(training.epochs())


def test_fewer_pictures_than_a_batch_make_one_batch(data):
    training = Training(network(), data, TrainingSettings(batch_size=500), device=CPU)
    assert (training.batch_size, training.steps) == (54, 1)


def test_corrupt_pictures_are_refused_or_left_out(tmp_path):
    folder = write_shapes(tmp_path / 'data', 4)
    (folder / 'cross' / '001.png').write_bytes(b'\x89PNG broken')
    with DataSplit(folder, share=0.25) as split:
        for budget in (None, 0):
            with pytest.raises(DataError, match=r'1 of 12 .*cross/001'):
                load_data(split, SIDE, None, CPU, budget=budget)
            data = load_data(split, SIDE, None, CPU, skip_corrupt=True, budget=budget, workers=1)
            assert [one.name for one in data.corrupt] == ['cross/001.png']
            assert len(data.train) + len(data.validation.targets) == 11


@pytest.mark.parametrize('budget', [None, 0])
def test_a_corrupt_picture_to_measure_with_removes_none_of_its_name_to_learn_from(
        tmp_path, budget):
    for part, count in (('train', 12), ('val', 2)):
        write_shapes(tmp_path / part, count)
    (tmp_path / 'val' / 'cross' / '001.png').write_bytes(b'broken')
    with DataSplit(tmp_path) as split:
        with pytest.raises(DataError, match=f'^1 of 6 .*{tmp_path}/val'):
            load_data(split, SIDE, None, CPU, budget=budget)
        data = load_data(split, SIDE, None, CPU, skip_corrupt=True, budget=budget, workers=1)
        assert (len(data.train), len(data.validation.targets)) == (36, 5)
        assert [one.name for one in data.corrupt] == ['cross/001.png']
        (tmp_path / 'train' / 'circle' / '002.png').write_bytes(b'broken')
        with pytest.raises(
                DataError, match=r'^1 of 36 .* 1 of 6 .*circle/002\.png .*cross/001\.png'):
            load_data(split, SIDE, None, CPU, budget=budget)


def test_a_class_of_corrupt_pictures_only_is_refused(tmp_path):
    folder = write_shapes(tmp_path / 'data', 3)
    for path in (folder / 'cross').iterdir():
        path.write_bytes(b'nothing')
    with DataSplit(folder) as split, pytest.raises(
            DataError, match=r'nothing is left .*cross'):
        load_data(split, SIDE, None, CPU, skip_corrupt=True)


def test_data_that_cannot_be_divided_is_refused(tmp_path, shapes):
    with pytest.raises(DataError, match='circle has one picture'):
        DataSplit(write_shapes(tmp_path / 'single', 1))
    with pytest.raises(UsageError, match=r'--validation-split 1\.0'):
        DataSplit(shapes, share=1.0)
    with pytest.raises(UsageError, match='--validation is'):
        DataSplit(shapes, validation=shapes)
    lacking = write_shapes(tmp_path / 'lacking', 1)
    (lacking / 'cross' / '000.png').unlink()
    (lacking / 'cross').rmdir()
    with pytest.raises(DataError, match='no pictures of cross'):
        DataSplit(shapes, validation=lacking)


def test_a_new_classifier_replaces_that_of_other_classes(tmp_path):
    path = tmp_path / 'net.pth'
    source = network()
    torch.save(source.state_dict(), path)
    kept, new, _ = initial_network('resnet18', path, CLASSES)
    assert not new
    assert torch.equal(kept.fc.weight, source.fc.weight)
    first, new, _ = initial_network('resnet18', path, ('a', 'b', 'c', 'd'), seed=1)
    again, _, _ = initial_network('resnet18', path, ('a', 'b', 'c', 'd'), seed=1)
    assert new
    assert first.fc.out_features == 4
    assert torch.equal(first.fc.weight, again.fc.weight)
    assert torch.equal(first.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


def test_what_is_not_read_is_counted_within_the_parts_and_beside_them(tmp_path):
    for part in ('train', 'val', 'more'):
        write_shapes(tmp_path / part, 2)
        (tmp_path / part / 'notes.txt').touch()
    (tmp_path / 'readme.md').touch()
    pictures = sum(1 for file in (tmp_path / 'more').rglob('*.*') if file.suffix != '.txt')
    ending, = {file.suffix for file in (tmp_path / 'more').rglob('*.*')} - {'.txt'}
    with DataSplit(tmp_path) as split:
        assert split.unread == {'.txt': 3, '.md': 1, ending: pictures}
    with DataSplit(tmp_path / 'train') as split:
        assert split.unread == {'.txt': 1}
    with DataSplit(tmp_path / 'train', tmp_path / 'val') as split:
        assert split.unread == {'.txt': 2}
