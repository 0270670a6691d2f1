"""Exporting a ResNet as a deployable model, checked against PyTorch."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Optional, Sequence, TYPE_CHECKING, Union

import numpy as np
from resnet_trt_node import __version__
from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.errors import LabelsError, ModelError
from resnet_trt_node.onnx_tools.class_names import given_labels, labels_for, Say, silent
from resnet_trt_node.onnx_tools.deployable import CHECKED_BATCHES, write_model, WrittenModel
from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.checkpoints.weights import choose_weights, load_network
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.networks.resnet_graph import resnet_graph
from resnet_trt_node.training.settings import check_image_size
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

FP16_MAX = 65504.0


def export_resnet(
        arch: Optional[str], weights: Union[str, Path], out: Union[str, Path], *,
        num_classes: Optional[int] = None,
        labels: Optional[Union[str, Path, Sequence[str]]] = None, precision: str = 'fp32',
        seed: int = 0, image_size: Optional[int] = None, resize: Optional[int] = None,
        cache: Optional[Path] = None, say: Say = silent) -> WrittenModel:
    """
    Write a ResNet as a deployable model.

    A checkpoint of `resnet_trt train` knows what is not given: architecture, class names, image
    size and resize rule.

    :param arch: one of `network.ARCHITECTURES`; None takes the checkpoint's, else
        `weights.DEFAULT_ARCHITECTURE`.
    :param weights: one of `published.RECIPES`, 'random', or a checkpoint file.
    :param out: the ONNX file to write; it appears complete and checked, or not at all.
    :param num_classes: C; None takes the number of labels, else what the weights have.
    :param labels: class names or a file of them; None gives the checkpoint's, else the ImageNet
        names to 1000 classes, and 'class_0' and so on to any other number.
    :param precision: 'fp32' or 'fp16'.
    :param seed: of random weights.
    :param image_size: H and W; None takes the checkpoint's, else 224.
    :param resize: short side before the centre crop; None scales the weights' own rule.
    :param cache: folder of downloads, None for the default.
    :param say: told in a line what was assumed of the class names.
    :raises UsageError: for arguments that cannot be used.
    :raises LabelsError: if labels, `num_classes` and the weights do not agree.
    :raises ModelError: if the weights cannot be had or the result is not what PyTorch computes.
    """
    start_ns = perf_counter_ns()
    arch, _, trained = choose_weights(arch, weights)
    if image_size is None:
        image_size = 224 if trained is None else trained.image_size
    check_image_size(image_size, None)
    names = given_labels(labels, say)
    if names is None and num_classes is None and trained is not None:
        names = trained.labels
    if num_classes is not None and names is not None and len(names) != num_classes:
        raise LabelsError(
            f'{len(names)} labels for {num_classes} classes: --labels and --num-classes must '
            'agree; one of them is enough')
    if num_classes is None and names is not None and weights == 'random':
        # Random weights have no number of classes of their own.
        num_classes = len(names)
    network, info = load_network(arch, weights, num_classes, seed, cache)
    labels = labels_for(names, network.fc.out_features, info.source, say)
    if resize is None:
        share = info.short_side_of_224 / 224 if trained is None else (
            trained.resize / trained.image_size)
        resize = round(image_size * share)
    spec = ModelSpec(
        height=image_size, width=image_size, labels=labels,
        resize=ResizeRule(resize, image_size, image_size, 'bilinear'), precision=precision,
        architecture=arch, source=info.source, source_sha256=info.sha256, tool_version=__version__)
    difference = write_checked(network, spec, Path(out))
    return WrittenModel(
        Path(out), spec, difference, file_sha256(out),
        Path(out).stat().st_size, (perf_counter_ns() - start_ns) / 1e9)


def write_checked(network: ResNet, spec: ModelSpec, out: Path) -> float:
    """
    Write a network as a deployable model and compare it with PyTorch.

    :param network: in evaluation mode, float32, on the CPU.
    :param spec: its contract; the precision is that of the file.
    :param out: the file; it appears complete and checked, or not at all.
    :returns: the largest absolute difference of a probability.
    :raises ModelError: if the file does not compute what PyTorch does.
    """
    model = resnet_graph(network, spec.precision, spec.height)
    if spec.precision == 'fp16':
        _check_fp16_range(network, spec.height, spec.width)
    return write_model(
        model, spec, out, spec.architecture,
        lambda frames: torch_probabilities(network, frames))


@torch.no_grad()
def torch_probabilities(network: ResNet, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """
    Classify frames in PyTorch, the reference of the export.

    :param network: in evaluation mode, float32, on the CPU.
    :param frames: uint8 (N, H, W, 3), RGB.
    :returns: probabilities, float32 (N, C), owned by the caller.
    """
    logits = network(torch.from_numpy(IMAGENET.apply(frames)))
    result: NDArray[np.float32] = torch.softmax(logits, dim=1).numpy()
    return result


def _check_fp16_range(network: ResNet, height: int, width: int) -> None:
    """Refuse networks whose results overflow fp16, which the check on the CPU would not show."""
    largest = {'': 0.0}

    def note(name: str, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        largest[name] = float(output.abs().max())

    with ExitStack() as hooks:
        for name, module in network.named_modules():
            # Convolutions are left out: their batch norms are folded into them.
            if name and not isinstance(module, nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(partial(note, name)))
        torch_probabilities(network, sample_frames(max(CHECKED_BATCHES), height, width))
    name = max(largest, key=lambda key: largest[key])
    if not largest[name] <= FP16_MAX:
        raise ModelError(
            f'{name} reaches {largest[name]:.3g}, fp16 ends at {FP16_MAX:g}: '
            'use --precision fp32')
