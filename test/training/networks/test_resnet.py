"""The networks have torchvision's parameters, shapes and strides."""

from __future__ import annotations

import pytest
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.networks.architectures import ARCHITECTURES
from resnet_trt_node.training.networks.resnet import architecture_of, ResNet
import torch

pytestmark = pytest.mark.slow

#: Parameters that torchvision and, for the D, timm state for 1000 classes.
PARAMETERS = {
    'resnet18': 11_689_512, 'resnet34': 21_797_672, 'resnet50': 25_557_032,
    'resnet101': 44_549_160, 'resnet152': 60_192_808,
    'resnet18d': 11_708_744, 'resnet34d': 21_816_904, 'resnet50d': 25_576_264,
    'resnet101d': 44_568_392, 'resnet152d': 60_212_040}


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_parameter_counts_are_the_published_ones(arch: str) -> None:
    with torch.device('meta'):
        network = ResNet(arch)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[arch]


def test_resnet50_has_the_names_and_shapes_of_published_checkpoints() -> None:
    with torch.device('meta'):
        state = {key: tuple(value.shape) for key, value in ResNet('resnet50').state_dict().items()}
    # 53 convolutions, 53 batch norms of five tensors each, one linear layer of two.
    assert len(state) == 53 + 53 * 5 + 2
    assert list(state)[:7] == [
        'conv1.weight', 'bn1.weight', 'bn1.bias', 'bn1.running_mean', 'bn1.running_var',
        'bn1.num_batches_tracked', 'layer1.0.conv1.weight']
    assert state['conv1.weight'] == (64, 3, 7, 7)
    assert state['layer1.0.downsample.0.weight'] == (256, 64, 1, 1)
    assert state['layer1.0.downsample.1.running_var'] == (256,)
    assert state['layer2.0.conv2.weight'] == (128, 128, 3, 3)
    assert state['layer3.5.conv3.weight'] == (1024, 256, 1, 1)
    assert state['layer4.2.bn3.num_batches_tracked'] == ()
    assert state['fc.weight'] == (1000, 2048)
    assert state['fc.bias'] == (1000,)
    assert not any('layer1.1.downsample' in key for key in state)


def test_resnet18_widens_by_a_shortcut_only_where_it_strides() -> None:
    with torch.device('meta'):
        state = ResNet('resnet18').state_dict()
    shortcuts = {key.rsplit('.', 2)[0] for key in state if 'downsample' in key}
    assert shortcuts == {f'layer{stage}.0.downsample' for stage in (2, 3, 4)}
    assert state['layer4.1.conv2.weight'].shape == (512, 512, 3, 3)


def test_the_stride_of_a_bottleneck_sits_on_its_3x3() -> None:
    with torch.device('meta'):
        block = ResNet('resnet50').layer2[0]
    assert (block.conv1.stride, block.conv2.stride, block.conv3.stride) == ((1, 1), (2, 2), (1, 1))


def test_a_d_has_the_names_and_shapes_of_timms_checkpoints() -> None:
    with torch.device('meta'):
        network = ResNet('resnet50d')
    state = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert [key for key in state if key.startswith('conv1.') and key.endswith('weight')] == [
        'conv1.0.weight', 'conv1.1.weight', 'conv1.3.weight', 'conv1.4.weight', 'conv1.6.weight']
    assert (state['conv1.0.weight'], state['conv1.6.weight']) == ((32, 3, 3, 3), (64, 32, 3, 3))
    for stage in (1, 2, 3, 4):
        assert f'layer{stage}.0.downsample.1.weight' in state
        assert f'layer{stage}.0.downsample.2.running_mean' in state
    assert not any('downsample.0' in key for key in state)


def test_logits_have_a_row_for_each_picture() -> None:
    network = ResNet('resnet50', num_classes=7).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 7)


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_parameter_names_tell_the_architecture(arch: str) -> None:
    with torch.device('meta'):
        assert architecture_of(set(ResNet(arch).state_dict())) == arch


def test_foreign_parameter_names_tell_none() -> None:
    assert architecture_of({'blocks.0.weight', 'head.bias'}) is None


def test_unknown_architecture_and_single_class_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'resnet20'.*resnet18, resnet34"):
        ResNet('resnet20')
    with pytest.raises(UsageError, match='1 classes'):
        ResNet('resnet18', num_classes=1)
