"""Exporting a ResNet as a deployable model, checked against PyTorch."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Optional, Sequence, TYPE_CHECKING, Union

import numpy as np
from resnet_trt_node import __version__
from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import check_choice, LabelsError, ModelError
from resnet_trt_node.onnx_tools.class_names import given_labels, labels_for
from resnet_trt_node.onnx_tools.deployable import CHECKED_BATCHES, write_model, WrittenModel
from resnet_trt_node.onnx_tools.graph import FLOAT_TYPES
from resnet_trt_node.onnx_tools.normalisation import IMAGENET, Normalisation
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.checkpoints.declared import TRAIN
from resnet_trt_node.training.checkpoints.weights import (
    choose_weights, load_network, RANDOM, WeightsInfo)
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.networks.resnet_graph import resnet_graph
from resnet_trt_node.training.preprocessing import GivenPreprocessing
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

FP16_MAX = 65504.0


def export_resnet(
        arch: Optional[str], weights: Union[str, Path], out: Union[str, Path], *,
        num_classes: Optional[int] = None,
        labels: Optional[Union[str, Path, Sequence[str]]] = None, precision: str = 'fp32',
        seed: int = 0, image_size: Optional[int] = None,
        resize: Optional[Union[int, str]] = None, cache: Optional[Path] = None,
        averaged: Optional[bool] = None,
        preprocessing: Optional[GivenPreprocessing] = None) -> WrittenModel:
    """
    Write a ResNet as a deployable model.

    A checkpoint of `resnet_trt train` knows what is not given: architecture, class names, image
    size and resize rule. So does timm's `config.json` beside its weights.

    :param arch: one of `network.ARCHITECTURES`; None takes the checkpoint's, else
        `weights.DEFAULT_ARCHITECTURE`.
    :param weights: one of `published.RECIPES`, 'random', a checkpoint file, or a folder of timm's.
    :param out: the ONNX file to write; it appears complete and checked, or not at all.
    :param num_classes: C; None takes the number of labels, else what the weights have.
    :param labels: class names or a file of them; None gives the checkpoint's, else the ImageNet
        names to 1000 classes, and 'class_0' and so on to any other number.
    :param precision: 'fp32' or 'fp16'.
    :param seed: of random weights.
    :param image_size: see `GivenPreprocessing`.
    :param resize: likewise.
    :param cache: folder of downloads, None for the default.
    :param averaged: see `state_dict.find_weights`.
    :param preprocessing: beside the two above, None for the weights' own.
    :raises UsageError: for arguments that cannot be used.
    :raises LabelsError: if labels, `num_classes` and the weights do not agree.
    :raises ModelError: if the weights cannot be had or the result is not what PyTorch computes.
    """
    start_ns = perf_counter_ns()
    given = preprocessing or GivenPreprocessing()
    given = replace(
        given, image_size=given.image_size if image_size is None else image_size,
        resize=given.resize if resize is None else resize)
    check_choice('precision', precision, tuple(FLOAT_TYPES))
    said: list[str] = []
    names = given_labels(labels, said.append)
    arch, weights, trained = choose_weights(arch, weights, averaged)
    if num_classes is None:
        if names is None and trained is not None:
            names = trained.labels
        if names is not None and weights == RANDOM:
            # Random weights have no number of classes of their own.
            num_classes = len(names)
    elif names is not None and len(names) != num_classes:
        raise LabelsError(
            f'{len(names)} labels for {num_classes} classes: --labels and --num-classes must '
            'agree; one of them is enough')
    network, info = load_network(arch, weights, num_classes, seed, cache, averaged)
    if names is None:
        names = info.declared.labels
    classes = network.fc.out_features
    class_names = labels_for(names, classes, info.source, said.append)
    rule = given.rule(info.declared)
    normalisation = given.normalisation(info.declared)
    spec = ModelSpec(
        height=rule.crop_height, width=rule.crop_width,
        labels=class_names, resize=rule, precision=precision,
        architecture=arch, source=_source(info), source_sha256=info.sha256,
        tool_version=__version__, normalisation=normalisation.describe(),
        assumptions=(*info.assumptions, *given.assumptions(info.declared),
                     *said, *_about_labels(names, info, classes), *_about_tests(given, info)))
    difference = write_checked(network, spec, Path(out), normalisation)
    return WrittenModel(
        Path(out), spec, difference, file_sha256(out),
        Path(out).stat().st_size, (perf_counter_ns() - start_ns) / 1e9)


def _source(info: WeightsInfo) -> str:
    """Return where weights come from, and what says how pictures are prepared for them."""
    declared = info.declared.source
    is_file = info.sha256 and declared not in ('', TRAIN, info.source)
    return f'{info.source}, prepared as {declared} says' if is_file else info.source


def _about_labels(
        names: Optional[Sequence[str]], info: WeightsInfo, classes: int) -> list[str]:
    if names is not None or not info.sha256 or (
            info.declared.is_imagenet and classes == 1000):
        return []
    made_up = ("ImageNet's class names, since there are 1000 classes" if classes == 1000 else
               'made-up class names')
    return [f'the weights have no class names, so that they get {made_up}: --labels FILE changes '
            'them']


def _about_tests(given: GivenPreprocessing, info: WeightsInfo) -> list[str]:
    test = info.declared.test
    if test is None or given.image_size is not None or test[0] == info.declared.image_size:
        return []
    return [f'the image size that the weights were trained with, {info.declared.image_size}; '
            f'timm tests them with {test[0]} too, which --image-size {test[0]} takes']


def write_checked(
        network: ResNet, spec: ModelSpec, out: Path,
        normalisation: Normalisation = IMAGENET) -> float:
    """
    Write a network as a deployable model and compare it with PyTorch.

    :param network: in evaluation mode, float32, on the CPU.
    :param spec: its contract; the precision is that of the file.
    :param out: the file; it appears complete and checked, or not at all.
    :param normalisation: of the network's input.
    :returns: the largest absolute difference of a probability.
    :raises ModelError: if the file does not compute what PyTorch does.
    """
    model = resnet_graph(network, spec.precision, spec.height, normalisation)
    if spec.precision == 'fp16':
        _check_fp16_range(network, spec.height, spec.width, normalisation)
    return write_model(
        model, spec, out, spec.architecture,
        lambda frames: torch_probabilities(network, frames, normalisation))


@torch.no_grad()
def torch_probabilities(
        network: ResNet, frames: NDArray[np.uint8],
        normalisation: Normalisation = IMAGENET) -> NDArray[np.float32]:
    """
    Classify frames in PyTorch, the reference of the export.

    :param network: in evaluation mode, float32, on the CPU.
    :param frames: uint8 (N, H, W, 3), RGB.
    :param normalisation: of the network's input.
    :returns: probabilities, float32 (N, C), owned by the caller.
    """
    logits = network(torch.from_numpy(normalisation.apply(frames)))
    result: NDArray[np.float32] = torch.softmax(logits, dim=1).numpy()
    return result


def _check_fp16_range(
        network: ResNet, height: int, width: int, normalisation: Normalisation) -> None:
    """Refuse networks whose results overflow fp16, which the check on the CPU would not show."""
    largest = {'': 0.0}

    def note(name: str, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        largest[name] = float(output.abs().max())

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            # Convolutions are left out: their batch norms are folded into them.
            if name and not isinstance(module, nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(partial(note, name)))
        torch_probabilities(
            network, sample_frames(max(CHECKED_BATCHES), height, width), normalisation)
    name = max(largest, key=lambda key: largest[key])
    if not largest[name] <= FP16_MAX:
        raise ModelError(
            f'{name} reaches {largest[name]:.3g}, fp16 ends at {FP16_MAX:g}: '
            'use --precision fp32')
