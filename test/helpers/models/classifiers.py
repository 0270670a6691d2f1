"""Small float classifiers, as exporters of several kinds would write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import onnx
from onnx import helper, numpy_helper

CLASSES = 6
SIDE = 16


def write_classifier(
        path: Path, *, layout: str = 'nchw', batch: Optional[int] = None, ends: str = 'logits',
        flatten: str = 'Flatten', dtype: Any = np.float32, side: Optional[int] = SIDE,
        names: tuple[str, str] = ('input', 'output'), norm: bool = False, opset: int = 17,
        external: bool = False, classes: int = CLASSES, channels: int = 3) -> Path:
    """
    Write a convolution, pooling and a linear layer.

    :param path: the file.
    :param layout: of the input.
    :param batch: a fixed batch size, None for a dynamic one.
    :param ends: 'logits', 'probabilities' (Softmax), 'decomposed' (softmax written out),
        'sigmoid', 'four' for logits of shape (N, C, 1, 1), or 'row' for one logit, of shape (N,).
    :param flatten: 'Flatten', 'constant' (a reshape that holds the batch), 'minus one' ([-1, K]),
        or 'arithmetic' (a reshape to a computed shape).
    :param dtype: of input, weights and output.
    :param side: H and W, None for dynamic ones.
    :param names: of input and output.
    :param norm: whether a BatchNormalization follows the convolution.
    :param opset: of the file.
    :param external: whether the weights go to a file beside.
    :param classes: C.
    :param channels: of the input.
    """
    random = np.random.default_rng(2)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    constants: dict[str, Any] = {
        'w': random.normal(0, 0.4, (8, channels, 3, 3)).astype(dtype),
        'b': random.normal(0, 0.4, 8).astype(dtype),
        'fc': random.normal(0, 1.5, (8, classes)).astype(dtype)}
    nodes = []
    x = names[0]
    if layout == 'nhwc':
        nodes.append(helper.make_node('Transpose', [x], ['nchw'], perm=[0, 3, 1, 2]))
        x = 'nchw'
    nodes.append(helper.make_node('Conv', [x, 'w', 'b'], ['conv'], strides=[2, 2], name='conv'))
    x = 'conv'
    if norm:
        for name in ('scale', 'shift', 'mean', 'var'):
            constants[name] = random.uniform(0.5, 2, 8).astype(dtype)
        nodes.append(helper.make_node(
            'BatchNormalization', [x, 'scale', 'shift', 'mean', 'var'], ['normed']))
        x = 'normed'
    nodes += [helper.make_node('Relu', [x], ['relu']),
              helper.make_node('GlobalAveragePool', ['relu'], ['pool'])]
    nodes += _flatten(flatten, batch, constants)
    result = names[1]
    logits = result if ends == 'logits' else 'logits'
    nodes.append(helper.make_node('MatMul', ['flat', 'fc'], [logits]))
    nodes += _end(ends, result, constants, dtype)
    n: Union[int, str] = 'batch' if batch is None else batch
    hw: tuple[Any, Any] = ('h', 'w') if side is None else (side, side)
    shape = (n, channels, *hw) if layout == 'nchw' else (n, *hw, channels)
    out_shape = {'four': (n, classes, 1, 1), 'row': (n,)}.get(ends, (n, classes))
    graph = helper.make_graph(
        nodes, 'net', [helper.make_tensor_value_info(names[0], kind, shape)],
        [helper.make_tensor_value_info(result, kind, out_shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path), save_as_external_data=external, location=f'{path.name}.data',
              size_threshold=0)
    return path


def branching_copy(source: Path, path: Path) -> Path:
    """
    Write a model whose last matrix product stands in both branches of an If.

    :param source: a model that ends in a Gemm and what follows it.
    :param path: the file.
    """
    model = onnx.load(str(source))
    graph = model.graph
    place = max(index for index, node in enumerate(graph.node) if node.op_type == 'Gemm')
    last = graph.node[place]
    result = last.output[0]
    branches = {}
    for branch in ('then_branch', 'else_branch'):
        node = onnx.NodeProto()
        node.CopyFrom(last)
        node.name, node.output[0] = 'twin', f'{branch}_result'
        branches[branch] = helper.make_graph(
            [node], branch, [],
            [helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)])
    last.CopyFrom(helper.make_node('If', ['always'], [result], name='choice', **branches))
    graph.initializer.append(numpy_helper.from_array(np.bool_(True), 'always'))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def _flatten(
        how: str, batch: Optional[int], constants: dict[str, Any]) -> list[onnx.NodeProto]:
    if how == 'Flatten':
        return [helper.make_node('Flatten', ['pool'], ['flat'])]
    if how == 'arithmetic':
        constants.update(zero=np.array(0), rest=np.array([-1]), axes=np.array([0]))
        return [
            helper.make_node('Shape', ['pool'], ['shape']),
            helper.make_node('Gather', ['shape', 'zero'], ['size']),
            helper.make_node('Unsqueeze', ['size', 'axes'], ['sizes']),
            helper.make_node('Concat', ['sizes', 'rest'], ['target'], axis=0),
            helper.make_node('Reshape', ['pool', 'target'], ['flat'])]
    constants['target'] = np.array([-1, 8] if how == 'minus one' else [batch or 1, -1])
    return [helper.make_node('Reshape', ['pool', 'target'], ['flat'])]


def _end(
        ends: str, result: str, constants: dict[str, Any], dtype: Any) -> list[onnx.NodeProto]:
    if ends == 'probabilities':
        return [helper.make_node('Softmax', ['logits'], [result], axis=1)]
    if ends == 'sigmoid':
        return [helper.make_node('Sigmoid', ['logits'], [result])]
    if ends == 'decomposed':
        constants['sum_axes'] = np.array([1])
        return [
            helper.make_node('Exp', ['logits'], ['exp']),
            helper.make_node('ReduceSum', ['exp', 'sum_axes'], ['sum'], keepdims=1),
            helper.make_node('Div', ['exp', 'sum'], [result])]
    if ends == 'row':
        constants['row'] = np.array([1])
        return [helper.make_node('Squeeze', ['logits', 'row'], [result])]
    if ends == 'four':
        constants['four'] = np.array([2, 3])
        return [helper.make_node('Unsqueeze', ['logits', 'four'], [result])]
    return []
