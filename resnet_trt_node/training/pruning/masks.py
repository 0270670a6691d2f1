"""
Pruning to 2:4: of every four weights in a row the two smaller ones become zero, and stay zero.

The recipe is NVIDIA's ASP: prune a trained network once by magnitude, then train it again with the
mask fixed. Mishra et al., "Accelerating Sparse Deep Neural Networks",
https://arxiv.org/abs/2104.08378. What 2:4 means and where it applies is `contract.sparsity`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, TYPE_CHECKING, Union

import numpy as np
import onnx
from onnx import numpy_helper
from resnet_trt_node.contract.model_file import naming
from resnet_trt_node.contract.onnx_graph import name_of
from resnet_trt_node.contract.sparsity import (
    GROUP, is_two_four, KEPT, layer_weights, PATTERN, why_dense)
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.deployable import load_float, write_model
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULLY_CONNECTED = 'fully connected'
#: Checkpoint entry to what it holds.
SPARSITY_KEY, LAYERS_KEY = 'sparsity', 'sparse_layers'


@dataclass(frozen=True)
class LayerReport:
    """
    What pruning did to a layer.

    :param layer: its name.
    :param shape: of its weight.
    :param zeros: share of the weight that is zero.
    :param kept: share of the sum of magnitudes that is left.
    :param why_dense: why it was left as it was, '' if it was pruned.
    """

    layer: str
    shape: tuple[int, ...]
    zeros: float
    kept: float
    why_dense: str = ''


def check_pattern(sparsity: str) -> None:
    """
    Refuse any sparsity but 2:4.

    :raises UsageError: with the reason.
    """
    if sparsity != PATTERN:
        raise UsageError(
            f'sparsity {sparsity!r}: choose {PATTERN}, the only pattern that the sparse tensor '
            'cores compute with; any other saves no time')


def two_four_mask(weight: NDArray[Any], axis: int) -> NDArray[np.bool_]:
    """
    Choose what is kept: the two largest magnitudes of every four, the first of equals.

    :param weight: any floats, the summed side a multiple of 4 long.
    :param axis: the summed side.
    :returns: bool of the weight's shape, owned by the caller.
    """
    moved = np.moveaxis(np.abs(weight), axis, -1)
    groups = moved.reshape(-1, GROUP)
    order = np.argsort(-groups, axis=1, kind='stable')
    mask = np.zeros(groups.shape, bool)
    np.put_along_axis(mask, order[:, :KEPT], True, axis=1)
    return np.ascontiguousarray(np.moveaxis(mask.reshape(moved.shape), -1, axis))


class TwoFourMasks:
    """
    The masks of a network, by its weights as they are now.

    An object is called with the network, or a copy of it, to set the masked weights to zero, such
    as after each step of an optimiser.

    :param network: read only.
    :param fully_connected: whether linear layers get a mask too.
    :raises ModelError: if no layer can be 2:4.
    """

    def __init__(self, network: nn.Module, fully_connected: bool = False) -> None:
        self.reports: list[LayerReport] = []
        self._masks: dict[str, torch.Tensor] = {}
        self._by_device: dict[torch.device, list[torch.Tensor]] = {}
        for name, module in network.named_modules():
            if not isinstance(module, (nn.Conv2d, nn.Linear)):
                continue
            weight = module.weight.detach().cpu().numpy()
            reason = _reason(
                isinstance(module, nn.Conv2d),
                why_dense(weight.shape[1], getattr(module, 'groups', 1)), fully_connected)
            mask = None if reason else two_four_mask(weight, 1)
            self.reports.append(_report(name, weight, mask, reason))
            if mask is not None:
                self._masks[f'{name}.weight'] = torch.from_numpy(mask)
        if not self._masks:
            raise ModelError(_NOTHING)

    @property
    def layers(self) -> list[str]:
        """Return the names of the layers that have a mask."""
        return [name[:-len('.weight')] for name in self._masks]

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> None:
        """Set the masked weights of a network to zero, on whatever device it is."""
        parameters = dict(network.named_parameters())
        weights: list[torch.Tensor] = [parameters[name] for name in self._masks]
        device = weights[0].device
        if device not in self._by_device:
            # In the weights' own layout and type, so that one kernel can multiply all of them.
            self._by_device[device] = [
                torch.empty_like(weight).copy_(mask)
                for weight, mask in zip(weights, self._masks.values())]
        torch._foreach_mul_(  # type: ignore[attr-defined,unused-ignore]
            weights, self._by_device[device])


def check_two_four(network: nn.Module, layers: Sequence[str]) -> None:
    """
    Refuse a network whose layers are not exactly 2:4.

    :param layers: names of its layers.
    :raises ModelError: naming those that are not.
    """
    modules = dict(network.named_modules())
    wrong = [name for name in layers if name not in modules or not is_two_four(
        modules[name].weight.detach().cpu().numpy(), 1)]
    if wrong:
        raise ModelError(
            f'not {PATTERN}: {", ".join(wrong[:5])}; prune it again with `resnet_trt prune`')


def checkpoint_entries(masks: TwoFourMasks) -> dict[str, Any]:
    """Return what a checkpoint says of its sparsity."""
    return {SPARSITY_KEY: PATTERN, LAYERS_KEY: masks.layers}


def check_sparse_checkpoint(content: Any, network: nn.Module, where: str) -> None:
    """
    Refuse a checkpoint that says of itself that it is 2:4, and is not.

    :param content: what the file holds.
    :param network: with its weights.
    :param where: the file, for the message.
    :raises ModelError: if it is not, or malformed.
    """
    if not isinstance(content, Mapping) or SPARSITY_KEY not in content:
        return
    layers = content.get(LAYERS_KEY)
    if content[SPARSITY_KEY] != PATTERN or not isinstance(layers, list) or not layers:
        raise ModelError(f'{where} says {content[SPARSITY_KEY]!r} of its sparsity, '
                         f'{PATTERN} with a list of layers was expected: prune it again')
    with naming(where):
        check_two_four(network, [str(name) for name in layers])


def prune_onnx(
        path: Union[str, Path], out: Union[str, Path],
        fully_connected: bool = False) -> tuple[ModelSpec, list[LayerReport]]:
    """
    Write the 2:4 form of a deployable model, without fine-tuning.

    :param path: the model, fp32 or fp16.
    :param out: the file to write; it appears whole or not at all.
    :param fully_connected: whether matrix products are pruned as well.
    :returns: the new model's contract, and what was done to each layer.
    :raises ModelError: if it is not deployable, int8, or has nothing to prune.
    """
    model, spec = load_float(path, {'Conv', 'Gemm', 'MatMul'}, 'pruned')
    with naming(path):
        reports = prune_graph(model, fully_connected)
    spec = replace(spec, source=pruned_source(spec.source))
    write_model(model, spec, out, f'the pruned form of {path}')
    return spec, reports


def prune_graph(model: onnx.ModelProto, fully_connected: bool = False) -> list[LayerReport]:
    """
    Make the weights of a graph 2:4.

    :param model: is changed in place.
    :param fully_connected: whether matrix products are pruned as well.
    :returns: what was done to each layer, in the graph's order.
    :raises ModelError: if there is nothing to prune.
    """
    kinds = {name_of(node): node.op_type for node in model.graph.node}
    reports = []
    for weight in layer_weights(model):
        reason = _reason(kinds[weight.layer] == 'Conv', weight.why_dense, fully_connected)
        mask = None if reason else two_four_mask(weight.values, weight.axis)
        reports.append(_report(weight.layer, weight.values, mask, reason))
        if mask is not None:
            pruned = np.where(mask, weight.values, 0).astype(weight.values.dtype)
            weight.tensor.CopyFrom(numpy_helper.from_array(pruned, weight.tensor.name))
    if all(report.why_dense for report in reports):
        raise ModelError(_NOTHING)
    return reports


def pruned_source(source: str) -> str:
    """Return where pruned weights come from, in words."""
    return source if source.endswith(f'pruned {PATTERN}') else f'{source}, pruned {PATTERN}'


_NOTHING = ('nothing to prune: no convolution of one group has a multiple of 4 input channels')


def _reason(convolution: bool, unfit: str, fully_connected: bool) -> str:
    return unfit if convolution or unfit or fully_connected else _FULLY_CONNECTED


def _report(
        name: str, weight: NDArray[Any], mask: Optional[NDArray[np.bool_]],
        reason: str) -> LayerReport:
    magnitudes = np.abs(weight.astype(np.float64))
    left = magnitudes if mask is None else magnitudes * mask
    total = float(magnitudes.sum())
    return LayerReport(
        name, tuple(weight.shape), float((left == 0).mean()) if left.size else 0.0,
        float(left.sum()) / total if total else 1.0, reason)
