"""What a training is made of: schedule, crops, flips, colours, mixing, averages, settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.training.data.augment import (
    crop_and_resize, crop_boxes, mix_batch, normalise, plan_epoch, RATIOS, vary_colours)
from resnet_trt_node.training.devices import amp_dtype, memory_errors, pick_device
from resnet_trt_node.training.ema import WeightAverage
from resnet_trt_node.training.schedule import learning_rate
from resnet_trt_node.training.settings import default_lr, TrainingSettings
import torch
from torch import nn

pytestmark = pytest.mark.slow

CPU = torch.device('cpu')
WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
KEPT = torch.eye(2, 3)[None]
MIRRORED = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def noise(count: int = 1, side: int = 16, seed: int = 0) -> torch.Tensor:
    """Return uint8 (count, side, side, 3)."""
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine():
    rates = [learning_rate(step, 100, 4, 0.8) for step in range(100)]
    assert rates[:5] == pytest.approx([0.16, 0.32, 0.48, 0.64, 0.8])
    assert rates[4 + 48] == pytest.approx(0.4)  # half way down
    assert all(early > late for early, late in zip(rates[4:], rates[5:]))
    assert 0 < rates[-1] < 0.001
    assert learning_rate(0, 10, 0, 0.5) == 0.5


def test_the_whole_picture_at_its_size_is_unchanged():
    pictures = noise()
    result = crop_and_resize(pictures, WHOLE, KEPT, 16)
    torch.testing.assert_close(result, pictures.permute(0, 3, 1, 2).float(), rtol=0, atol=1e-3)


def test_a_mirrored_picture_is_the_flipped_one():
    pictures = noise()
    result = crop_and_resize(pictures, WHOLE, MIRRORED, 16)
    torch.testing.assert_close(
        result, pictures.flip(2).permute(0, 3, 1, 2).float(), rtol=0, atol=1e-3)


def test_a_crop_shows_its_box():
    pictures = noise()
    box = torch.tensor([[4 / 16, 2 / 16, 8 / 16, 8 / 16]])  # left, top, width, height
    result = crop_and_resize(pictures, box, KEPT, 8)
    # Twice as many points a side are averaged, which at scale 1 blurs: compare a smooth picture.
    assert result.shape == (1, 3, 8, 8)
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing='ij')
    ramp = torch.stack([rows, columns, rows + columns], dim=-1).to(torch.uint8)[None] * 8
    result = crop_and_resize(ramp, box, KEPT, 8)
    expected = ramp[:, 2:10, 4:12].permute(0, 3, 1, 2).float()
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-3)


def test_enlarging_is_what_the_deployed_model_is_given():
    pictures = noise(side=16)
    out = np.empty((48, 48, 3), np.uint8)
    Resizer(ResizeRule(48, 48, 48)).resize(Frame(pictures[0].numpy(), 'rgb'), out)
    result = crop_and_resize(pictures, WHOLE, KEPT, 48)[0].permute(1, 2, 0).numpy()
    assert np.abs(result - out).max() <= 1.0  # Pillow rounds twice


def test_shrinking_leaves_no_pixel_out():
    stripes = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    result = crop_and_resize(stripes, WHOLE, KEPT, 16)
    assert float((result - 127.5).abs().max()) < 1


def test_shrinking_more_than_twice_sees_every_column():
    lit = 255 * torch.eye(40, dtype=torch.uint8)[:, None, :, None].expand(40, 40, 40, 3)
    result = crop_and_resize(lit, WHOLE.expand(40, 4), KEPT.expand(40, 2, 3), 16)
    assert float(result.amax((1, 2, 3)).min()) > 0


@pytest.mark.parametrize('aspect', [0.2, 0.75, 1.0, 1.5, 6.0])
def test_crops_lie_inside_and_have_the_asked_share_and_ratio(aspect):
    numbers = torch.rand(2000, 4, generator=torch.Generator().manual_seed(1))
    boxes = crop_boxes(numbers, torch.full((2000,), aspect), 0.3)
    left, top, width, height = boxes.unbind(1)
    assert float(boxes.min()) >= 0
    assert float((left + width).max()) <= 1 + 1e-6
    assert float((top + height).max()) <= 1 + 1e-6
    ratios = width / height * aspect
    assert RATIOS[0] - 1e-3 <= float(ratios.min()) <= float(ratios.max()) <= RATIOS[1] + 1e-3
    share = width * height
    assert float(share.max()) <= 1 + 1e-6
    if 0.75 <= aspect <= 1.5:
        assert float(share.min()) >= 0.3 - 1e-4
        assert float(share.min()) < 0.31
        assert float(share.max()) > 0.85


def test_no_crop_is_the_whole_square_picture():
    boxes = crop_boxes(torch.rand(50, 4), torch.ones(50), 1.0)
    torch.testing.assert_close(boxes, WHOLE.expand(50, 4), rtol=0, atol=1e-6)


def test_an_epoch_is_decided_by_seed_and_number():
    settings = TrainingSettings(seed=5, colour=0.2, mix='mixup')
    first, again = (plan_epoch(settings, 64, 4, 3, CPU) for _ in range(2))
    for name in ('order', 'crops', 'warps', 'colours'):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert (first.shares, first.places) == (again.shares, again.places)
    assert sorted(first.order.tolist()) == list(range(64))
    assert set(first.warps[:, 0, 0].tolist()) == {-1.0, 1.0}
    assert first.colours is not None
    assert first.tones is None
    assert 0.8 <= float(first.colours.min()) < float(first.colours.max()) <= 1.2
    for other in (plan_epoch(settings, 64, 4, 4, CPU),
                  plan_epoch(TrainingSettings(seed=6), 64, 4, 3, CPU)):
        assert not torch.equal(first.order, other.order)
        assert not torch.equal(first.crops, other.crops)


def test_nothing_is_mirrored_unless_asked_for():
    plan = plan_epoch(TrainingSettings(flip=False), 64, 4, 0, CPU)
    torch.testing.assert_close(plan.warps, KEPT.expand(64, 2, 3), rtol=0, atol=0)


def test_colours_vary_one_by_one():
    pictures = torch.tensor([100.0, 50.0, 20.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    same, bright, grey = (
        vary_colours(pictures, torch.tensor([factors]))[0, :, 0, 0].tolist()
        for factors in ([1.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 1.0, 0.0]))
    assert same == pytest.approx([100, 50, 20])
    assert bright == pytest.approx([200, 100, 40])
    assert grey == pytest.approx([0.299 * 100 + 0.587 * 50 + 0.114 * 20] * 3)
    steps = torch.cat([pictures, pictures * 2], dim=3)
    flat = vary_colours(steps, torch.tensor([[1.0, 0.0, 1.0]]))
    assert float(flat.std()) == pytest.approx(0, abs=1e-4)


def test_colours_end_at_black_and_white():
    pictures = torch.tensor([200.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 4)
    vivid = vary_colours(pictures, torch.tensor([[1.5, 1.0, 2.0]]))[0, :, 0, 0].tolist()
    assert vivid == [255, 0, 0]


def test_normalisation_is_that_of_the_deployed_model():
    frames = noise(2).numpy()
    result = normalise(torch.from_numpy(frames).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(result.numpy(), IMAGENET.apply(frames), atol=1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_mixup_blends_with_the_next_picture():
    pictures = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    mixed, share = mix_batch(pictures, 'mixup', 0.75, [0.0, 0.0])
    assert share == 0.75
    assert mixed[:, 0, 0, 0].tolist() == pytest.approx([0.25, 1.25, 2.25, 2.25])


@pytest.mark.parametrize('place', [[0.0, 0.0], [0.999, 0.999], [0.3, 0.8]])
def test_cutmix_shares_are_the_pixels_that_are_seen(place):
    pictures = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 8, 8)
    mixed, share = mix_batch(pictures, 'cutmix', 0.75, place)
    kept = (mixed == pictures).float().mean((1, 2, 3))
    assert kept.tolist() == pytest.approx([share] * 4)
    assert share == pytest.approx(0.75)
    assert float(pictures[0].max()) == 0  # not changed in place


def test_the_share_of_cutmix_is_that_of_whole_pixels():
    pictures = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 8, 8)
    mixed, share = mix_batch(pictures, 'cutmix', 0.6, [0.5, 0.5])
    assert share == 1 - 25 / 64  # 0.4 of the area are 5.06 pixels a side
    assert float((mixed == pictures).float().mean()) == pytest.approx(share)


def test_unmixed_batches_are_the_batch_itself():
    pictures = torch.rand(2, 3, 4, 4)
    assert mix_batch(pictures, 'none', 1.0, [0.0, 0.0]) == (pictures, 1.0)


def test_the_average_follows_slowly_and_copies_counters():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    nn.init.zeros_(network[0].weight)
    average = WeightAverage(network, 0.5)
    nn.init.ones_(network[0].weight)
    network[1].num_batches_tracked.fill_(7)
    average.update()  # early averages forget faster: 1 / 11 is kept
    averaged: Any = average.network
    assert float(averaged[0].weight[0, 0]) == pytest.approx(10 / 11)
    assert int(averaged[1].num_batches_tracked) == 7
    assert not averaged.training
    for _ in range(60):
        average.update()
    assert float(averaged[0].weight[0, 0]) == pytest.approx(1)


@pytest.mark.parametrize(('values', 'message'), [
    ({'epochs': 0}, '--epochs 0'), ({'batch_size': 1}, '--batch-size 1'), ({'lr': 0.0}, '--lr'),
    ({'lr': float('nan')}, '--lr nan'), ({'warmup_epochs': 31.0}, '--warmup-epochs 31'),
    ({'weight_decay': -1.0}, '--weight-decay'), ({'label_smoothing': 1.0}, '--label-smoothing'),
    ({'min_scale': 0.0}, '--min-scale'), ({'mix': 'blend'}, '--mix blend'),
    ({'ema': 1.0}, '--ema'), ({'seed': -1}, '--seed'), ({'colour': 2.0}, '--colour')])
def test_settings_that_cannot_be_used_are_refused_by_their_option(values, message):
    with pytest.raises(UsageError, match=message):
        TrainingSettings(**values)


def test_differences_of_settings_are_named():
    then = asdict(TrainingSettings(epochs=10))
    assert TrainingSettings(epochs=20, mix='mixup').differences(then) == [
        'epochs: 10, now 20', 'mix: none, now mixup']
    # A run of an older version does not know what came later.
    del then['teacher'], then['colour']
    assert TrainingSettings(epochs=10).differences(then) == []
    assert TrainingSettings(epochs=10, colour=0.5).differences(then) == ['colour: 0.0, now 0.5']


def test_the_usual_learning_rate_grows_with_the_batch():
    assert default_lr(512, from_random=True) == pytest.approx(0.2)
    assert default_lr(64, from_random=False) == pytest.approx(0.0025)


def test_a_device_that_is_not_there_is_refused():
    assert pick_device('cpu') == CPU
    assert amp_dtype(CPU) is None
    for name in ('abacus', 'meta', 'mps', 'cuda:one'):
        with pytest.raises(UsageError, match=f'--device {name}'):
            pick_device(name)
    if not torch.cuda.is_available():
        assert pick_device('auto') == CPU
        with pytest.raises(UsageError, match='no such GPU'):
            pick_device('cuda')


def test_other_errors_are_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match='shape'), memory_errors(8):
        raise RuntimeError('wrong shape')
