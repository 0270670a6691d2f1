"""Weights for a network: published checkpoints, a file, or seeded random ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Optional, Union

from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.errors import LabelsError, ModelError, UsageError
from resnet_trt_node.training.checkpoints.download import fetch_checkpoint
from resnet_trt_node.training.checkpoints.files import load_file, trained_model, TrainedModel
from resnet_trt_node.training.checkpoints.published import PUBLISHED, RECIPES
from resnet_trt_node.training.checkpoints.state_dict import find_weights
from resnet_trt_node.training.networks.architectures import DEFAULT_ARCHITECTURE
from resnet_trt_node.training.networks.random_weights import initialise
from resnet_trt_node.training.networks.resnet import architecture_of, ResNet
import torch

_ADDRESS = 'https://download.pytorch.org/models/'
#: Those whose whole sha256 is not known here; they are not downloaded.
_UNCHECKED = {('resnet152', 'imagenet1k_v2'): 'resnet152-f82ba261.pth'}
#: Short side that torchvision's evaluation resizes to before it crops 224, by recipe.
SHORT_SIDE_OF_224 = {'imagenet1k_v1': 256, 'imagenet1k_v2': 232}
_SHOWN_PROBLEMS = 5
#: What becomes float32 by rounding alone; integers would lack their scale.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class WeightsInfo:
    """
    Where a network's weights come from.

    :param source: in words, for the model's metadata.
    :param sha256: hex digest of the checkpoint, '' for random weights.
    :param short_side_of_224: pixels of the short side before a centre crop of 224.
    """

    source: str
    sha256: str
    short_side_of_224: int


def load_network(
        arch: Optional[str], weights: Union[str, Path], num_classes: Optional[int] = None,
        seed: int = 0, cache: Optional[Path] = None) -> tuple[ResNet, WeightsInfo]:
    """
    Build a network with its weights, in evaluation mode, on the CPU, float32.

    :param arch: one of `network.ARCHITECTURES`; None takes the one whose names the weights have,
        for those without a file `DEFAULT_ARCHITECTURE`.
    :param weights: one of `RECIPES`, 'random', or a checkpoint file.
    :param num_classes: C; None takes what the weights have, 1000 for random ones.
    :param seed: of the random weights.
    :param cache: folder of downloads, None for the default.
    :raises UsageError: for an unknown architecture or a recipe that it has not.
    :raises ModelError: if the weights cannot be had or do not fit the network.
    """
    if weights == 'random':
        network = ResNet(
            arch or DEFAULT_ARCHITECTURE, 1000 if num_classes is None else num_classes)
        initialise(network, seed)
        return network, WeightsInfo(f'random, seed {seed}', '', 256)
    if weights in RECIPES:
        path = _published(arch or DEFAULT_ARCHITECTURE, str(weights), num_classes, cache)
        short_side, source = SHORT_SIDE_OF_224[str(weights)], f'torchvision {weights}'
    else:
        path = Path(weights)
        if not path.is_file():
            raise ModelError(
                f'no checkpoint at {path}: pass a file, or one of {", ".join(RECIPES)}, random')
        short_side, source = 256, path.name
    state, taken = find_weights(load_file(path), str(path))
    arch = arch or architecture_of(set(state))
    if arch is None:
        raise ModelError(
            f'{path} holds no ResNet that is known here: pass a checkpoint of `resnet_trt train`, '
            "a state dict with torchvision's names, or prune the ONNX file")
    source += f', {taken}' if taken else ''
    if num_classes is None:
        num_classes = _classes_of(state) or 1000
    network = ResNet(arch, num_classes)
    load_state(network, state, str(path))
    return network, WeightsInfo(source, file_sha256(path), short_side)


def choose_weights(
        arch: Optional[str],
        weights: Union[str, Path, None]) -> tuple[str, str, Optional[TrainedModel]]:
    """
    Return the architecture and weights that are meant, and what the weights say of themselves.

    :param arch: None takes that of a checkpoint of `resnet_trt train`, else
        `DEFAULT_ARCHITECTURE`.
    :param weights: see `load_network`; None takes the better published ones.
    :returns: for the last, None where the weights are not of `resnet_trt train`.
    :raises ModelError: if the file cannot be read, or is of another architecture.
    """
    weights = str(weights or best_recipe(arch or DEFAULT_ARCHITECTURE))
    trained = trained_model(load_file(weights), weights) if Path(weights).is_file() else None
    if trained is None:
        return arch or DEFAULT_ARCHITECTURE, weights, None
    if arch not in (None, trained.arch):
        raise ModelError(
            f'{weights} is a trained {trained.arch}, {arch} was asked for: leave --arch away, or '
            'name another checkpoint')
    return trained.arch, weights, trained


def best_recipe(arch: str) -> str:
    """Return the recipe of the most accurate published checkpoint of an architecture."""
    return next((recipe for recipe in reversed(RECIPES) if arch in PUBLISHED[recipe]),
                RECIPES[0])


def _published(arch: str, recipe: str, num_classes: Optional[int], cache: Optional[Path]) -> Path:
    unchecked = _UNCHECKED.get((arch, recipe))
    if unchecked is not None:
        raise UsageError(
            f'the {recipe} checkpoint of {arch} is not downloaded, since its whole sha256 is not '
            f'known here: choose imagenet1k_v1, or download {_ADDRESS}{unchecked} yourself and '
            f'pass --weights FILE --resize {SHORT_SIDE_OF_224[recipe]}')
    # The network's own check gives the message for an unknown architecture.
    sha256 = PUBLISHED[recipe].get(arch)
    if sha256 is None:
        known = ', '.join(PUBLISHED[recipe])
        raise UsageError(
            f'there is no {recipe} checkpoint of {arch}, only of {known}: choose one of these, '
            'imagenet1k_v1, or pass --weights FILE')
    if num_classes not in (None, 1000):
        raise LabelsError(
            f'{recipe} has 1000 classes, {num_classes} were asked for: leave --num-classes and '
            '--labels away, or pass --weights FILE of a fine-tuned network')
    return fetch_checkpoint(f'{_ADDRESS}{arch}-{sha256[:8]}.pth', sha256, cache)


def load_state(network: ResNet, state: Mapping[str, torch.Tensor], where: str) -> None:
    """
    Put a state dict into a network and set it to evaluation mode.

    :param network: takes copies of the tensors.
    :param state: every parameter and buffer by torchvision's names; `num_batches_tracked`, which
        old checkpoints lack and inference does not need, may be missing.
    :param where: the file, for the message.
    :raises ModelError: listing what is missing, unknown, of another shape or type, or not finite.
    """
    wanted = network.state_dict()
    problems = [
        f'missing: {key}' for key in wanted
        if key not in state and not key.endswith('num_batches_tracked')]
    problems += [f'unknown: {key}' for key in state if key not in wanted]
    for key, value in state.items():
        if key not in wanted:
            continue
        if value.shape != wanted[key].shape:
            problems.append(
                f'shape: {key} is {tuple(value.shape)}, not {tuple(wanted[key].shape)}')
        elif value.layout != torch.strided or value.is_meta or (
                wanted[key].is_floating_point() and value.dtype not in _FLOATS):
            problems.append(
                f'kind: {key} is {value.dtype}, {value.layout}, on {value.device.type}, not '
                'plain floats')
        elif not bool(torch.isfinite(value).all()):
            problems.append(f'not finite: {key} holds NaN or infinity')
    if problems:
        shown = problems[:_SHOWN_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f'and {len(problems) - len(shown)} more')
        raise ModelError(
            f'{where} does not fit {network.arch} with {network.fc.out_features} classes'
            f'{_hint(network, state)}: {"; ".join(shown)}')
    network.load_state_dict(dict(state), strict=False)
    network.eval()


def _hint(network: ResNet, state: Mapping[str, torch.Tensor]) -> str:
    found = architecture_of(set(state))
    if found not in (None, network.arch):
        return f', it looks like {found}: pass --arch {found}'
    classes = _classes_of(state)
    if found and classes not in (None, network.fc.out_features):
        return f', it has {classes} classes: pass --num-classes {classes}'
    return ''


def _classes_of(state: Mapping[str, torch.Tensor]) -> Optional[int]:
    """Return how many classes a classifier has, None where there is no such."""
    for name, axes in (('fc.bias', 1), ('fc.weight', 2)):
        if name in state and state[name].ndim == axes:
            return len(state[name])
    return None
