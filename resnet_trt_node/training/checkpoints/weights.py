"""Weights for a network: published checkpoints, a file, or seeded random ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional, Union

from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.errors import LabelsError, ModelError, UsageError
from resnet_trt_node.training.checkpoints.declared import declared_in, DeclaredWeights, TRAIN
from resnet_trt_node.training.checkpoints.download import fetch_checkpoint
from resnet_trt_node.training.checkpoints.files import load_file, trained_model, TrainedModel
from resnet_trt_node.training.checkpoints.published import PUBLISHED, RECIPES
from resnet_trt_node.training.checkpoints.state_dict import find_weights, FoundWeights, OTHER_WAY
from resnet_trt_node.training.checkpoints.timm import (
    published_by_timm, read_config, weights_path)
from resnet_trt_node.training.networks.architectures import DEFAULT_ARCHITECTURE
from resnet_trt_node.training.networks.random_weights import initialise
from resnet_trt_node.training.networks.resnet import architecture_of, ResNet
import torch

RANDOM = 'random'
_ADDRESS = 'https://download.pytorch.org/models/'
#: Those whose whole sha256 is not known here; they are not downloaded.
_UNCHECKED = {('resnet152', 'imagenet1k_v2'): 'resnet152-f82ba261.pth'}
#: Short side that torchvision's evaluation resizes to before it crops 224, by recipe.
SHORT_SIDE_OF_224 = {'imagenet1k_v1': 256, 'imagenet1k_v2': 232}
_SHOWN_PROBLEMS = 5
#: How a tensor may not fit, to how that is counted.
_KINDS = {
    'missing': 'missing', 'unknown': 'unknown', 'shape': 'of another shape',
    'kind': 'of another kind', 'not finite': 'not finite'}
#: Those that damaged or converted weights of the right network have.
_VALUES = ('kind', 'not finite')
#: What becomes float32 by rounding alone; integers would lack their scale.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class WeightsInfo:
    """
    Where a network's weights come from.

    :param source: in words, for the model's metadata.
    :param sha256: hex digest of the checkpoint, '' for random weights.
    :param declared: how pictures become its input, and its classes; with a source of '' where
        nothing says that.
    :param assumptions: what was assumed to read the weights, a sentence each.
    """

    source: str
    sha256: str
    declared: DeclaredWeights
    assumptions: tuple[str, ...] = ()


def load_network(
        arch: Optional[str], weights: Union[str, Path], num_classes: Optional[int] = None,
        seed: int = 0, cache: Optional[Path] = None,
        averaged: Optional[bool] = None) -> tuple[ResNet, WeightsInfo]:
    """
    Build a network with its weights, in evaluation mode, on the CPU, float32.

    :param arch: one of `network.ARCHITECTURES`; None takes the one whose names the weights have,
        for those without a file `DEFAULT_ARCHITECTURE`.
    :param weights: one of `RECIPES`, 'random', a checkpoint file, or a folder of timm's.
    :param num_classes: C; None takes what the weights have, 1000 for random ones.
    :param seed: of the random weights.
    :param cache: folder of downloads, None for the default.
    :param averaged: see `find_weights`.
    :raises UsageError: for an unknown architecture or a recipe that it has not.
    :raises ModelError: if the weights cannot be had or do not fit the network.
    """
    if weights == RANDOM:
        network = ResNet(
            arch or DEFAULT_ARCHITECTURE, 1000 if num_classes is None else num_classes)
        initialise(network, seed)
        return network, WeightsInfo(
            f'random, seed {seed}', '', DeclaredWeights(source='random weights'))
    if weights in RECIPES:
        recipe = str(weights)
        path = _published(arch or DEFAULT_ARCHITECTURE, recipe, num_classes, cache)
        source, declared = f'torchvision {recipe}', _torchvision(recipe)
        content = load_file(path)
        sha256 = file_sha256(path)
    else:
        path = weights_path(weights)
        if not path.is_file():
            raise ModelError(
                f'no checkpoint at {path}: pass a file, or one of {", ".join(RECIPES)}, random')
        source, content = path.name, load_file(path)
        sha256 = file_sha256(path)
        declared = _declared(content, path, sha256)
    found = _found(content, path, averaged)
    state = found.state
    if found.choice:
        source += f', {found.choice}'
    arch = arch or _arch_of(state, path)
    names = architecture_of(set(state))
    if declared.arch and names is not None and declared.arch != names:
        raise ModelError(
            f'{declared.source} says that {path} is {declared.arch}, the names of its weights '
            f'are those of {names}: use the files of one network')
    if num_classes is None:
        num_classes = _classes_of(state) or 1000
    network = ResNet(arch, num_classes)
    load_state(network, state, str(path))
    assumptions = list(found.assumptions)
    if not declared.source and network.is_bottleneck:
        assumptions.append(
            "strides are on the 3x3 convolutions, as in torchvision's and timm's ResNets (v1.5)")
    return network, WeightsInfo(source, sha256, declared, tuple(assumptions))


def _torchvision(recipe: str) -> DeclaredWeights:
    return DeclaredWeights(
        short_side=SHORT_SIDE_OF_224[recipe], source=f'torchvision {recipe}')


def _declared(content: Any, path: Path, sha256: str) -> DeclaredWeights:
    """Return what is known of a file, the surest first."""
    trained = trained_model(content, str(path))
    if trained is not None:
        return DeclaredWeights(
            trained.image_size, trained.resize, source=TRAIN,
            labels=trained.labels, arch=trained.arch)
    ours = next(
        (recipe for recipe, files in PUBLISHED.items() if sha256 in files.values()), None)
    if ours is None and any(
            f'-{sha256[:8]}.' in name for name in _UNCHECKED.values()):
        ours = 'imagenet1k_v2'
    return (declared_in(content, str(path)) or read_config(path)
            or (None if ours is None else _torchvision(ours))
            or published_by_timm(sha256) or DeclaredWeights())


def _found(content: Any, path: Path, averaged: Optional[bool]) -> FoundWeights:
    if trained_model(content, str(path)) is not None:
        # Those that continue the training are there as well.
        content = {'state_dict': content.get('state_dict')}
    return find_weights(content, str(path), averaged)


def _arch_of(state: Mapping[str, torch.Tensor], path: Path) -> str:
    arch = architecture_of(set(state))
    if arch is None:
        raise ModelError(
            f'{path} holds no ResNet that is known here: pass a checkpoint of `resnet_trt train`, '
            f"a state dict with torchvision's names, or {OTHER_WAY}")
    return arch


def choose_weights(
        arch: Optional[str], weights: Union[str, Path, None],
        averaged: Optional[bool] = None) -> tuple[str, str, Optional[TrainedModel]]:
    """
    Return the architecture and weights that are meant, and what the weights say of themselves.

    :param arch: None takes that of a checkpoint, for those without a file
        `DEFAULT_ARCHITECTURE`.
    :param weights: see `load_network`; None takes the better published ones.
    :param averaged: see `find_weights`.
    :returns: for the weights, the file where a folder was meant; for the last, None where the
        weights are not of `resnet_trt train`.
    :raises ModelError: if the file cannot be read, or is of another architecture.
    """
    weights = str(weights or best_recipe(arch or DEFAULT_ARCHITECTURE))
    if weights in (*RECIPES, RANDOM):
        return arch or DEFAULT_ARCHITECTURE, weights, None
    path = weights_path(weights)
    if not path.is_file():
        return arch or DEFAULT_ARCHITECTURE, weights, None
    content = load_file(path)
    trained = trained_model(content, str(path))
    if trained is None:
        return arch or _arch_of(_found(content, path, averaged).state, path), str(path), None
    if arch not in (None, trained.arch):
        raise ModelError(
            f'{weights} is a trained {trained.arch}, {arch} was asked for: leave --arch away, or '
            'name another checkpoint')
    return trained.arch, str(path), trained


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
        kinds = Counter(one.partition(':')[0] for one in problems)
        counts = ', '.join(f'{count} {_KINDS[kind]}' for kind, count in kinds.items())
        shown = problems[:_SHOWN_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f'and {len(problems) - len(shown)} more')
        raise ModelError(
            f'{where} does not fit {network.arch} with {network.fc.out_features} classes '
            f'(of {len(wanted)} tensors {counts})'
            f'{_hint(network, state, bool({*kinds} - {*_VALUES}))}: {"; ".join(shown)}')
    network.load_state_dict(dict(state), strict=False)
    network.eval()


def _hint(network: ResNet, state: Mapping[str, torch.Tensor], is_other: bool) -> str:
    """Return what to do, `is_other` if the weights are of another network."""
    found = architecture_of(set(state))
    if found not in (None, network.arch):
        return f', it looks like {found}: pass --arch {found}'
    classes = _classes_of(state)
    if found and classes not in (None, network.fc.out_features):
        return f', it has {classes} classes: pass --num-classes {classes}'
    return f', it is another network: {OTHER_WAY}' if is_other else ''


def _classes_of(state: Mapping[str, torch.Tensor]) -> Optional[int]:
    """Return how many classes a classifier has, None where there is no such."""
    for name, axes in (('fc.bias', 1), ('fc.weight', 2)):
        if name in state and state[name].ndim == axes:
            return len(state[name])
    return None
