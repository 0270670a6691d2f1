"""What a network must compute and move, layer by layer, from its ONNX graph."""

from __future__ import annotations

from math import prod
from typing import Any

import onnx

#: Layers that do not merge into the one before them.
_LAYERS = ('Conv', 'Gemm', 'MaxPool', 'GlobalAveragePool')


def layers_of(model: onnx.ModelProto) -> list[dict[str, Any]]:
    """
    Return each layer's work for one picture.

    An element-wise node merges into the layer before it; an addition then reads its other side
    from memory. So a layer reads its input and shortcut once, and writes its result once.

    :returns: name; flops, two for each multiplication with addition; elements, the activations
        that it reads and writes; weights, its constants, read once for a whole batch.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    graph = inferred.graph
    constants = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    kernels = {tensor.name: tensor.dims for tensor in graph.initializer}
    elements = {
        value.name: prod(side.dim_value for side in value.type.tensor_type.shape.dim
                         if side.HasField('dim_value'))
        for value in (*graph.value_info, *graph.input, *graph.output)}
    layers: list[dict[str, Any]] = []
    for node in graph.node:
        size = elements[node.output[0]]
        if node.op_type in _LAYERS:
            flops = 0
            if node.op_type in ('Conv', 'Gemm'):
                kernel = kernels[node.input[1]]
                flops = 2 * size * (prod(kernel[1:]) if node.op_type == 'Conv' else kernel[1])
            layers.append({
                'name': node.name, 'flops': flops, 'elements': elements[node.input[0]] + size,
                'weights': sum(constants.get(name, 0) for name in node.input)})
        elif node.op_type == 'Add' and layers:
            layers[-1]['elements'] += size
    return layers


def floor_ms(
        layers: list[dict[str, Any]], batch: int, element_bytes: int, flops_s: float,
        bytes_s: float) -> float:
    """
    Return the milliseconds below which no layer-by-layer execution of a batch can come.

    Each layer takes the longer of computing and moving.

    :param layers: from `layers_of`.
    :param batch: pictures.
    :param element_bytes: of an activation or weight.
    :param flops_s: operations a second that the device was seen to do.
    :param bytes_s: bytes a second that its memory was seen to move.
    """
    return 1e3 * sum(
        max(layer['flops'] * batch / flops_s,
            (layer['elements'] * batch + layer['weights']) * element_bytes / bytes_s)
        for layer in layers)
