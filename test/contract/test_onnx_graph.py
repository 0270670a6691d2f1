"""The layer for ONNX graphs: branches and loops, names that are shadowed, inputs left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest

from resnet_trt_node.contract.onnx_check import check_valid, damaged_constant
from resnet_trt_node.contract.onnx_graph import (
    constants_in, graphs_of, inputs_of, integer, is_int8, name_of, names_of, names_read, nodes_of,
    nodes_with_constants, opset_of, output_axis, producers_of, refuse_in_subgraphs, remove_unread,
    rename_readers, replace_all, shapes_of, subgraphs_of, tensor_info, trace_back, weight_types)
from resnet_trt_node.errors import ModelError


def value(name: str, *shape: Any, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape or None)


def constant(name: str, *numbers: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.float32), name)


def branch(name: str, *nodes: onnx.NodeProto, constants: Any = ()) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [value(nodes[-1].output[0])], constants)


def nested() -> onnx.ModelProto:
    """
    Return a loop with an If in its body, and a function.

    `scale` is a constant of the main graph, of one branch with another value, and a computed
    tensor of the other branch.
    """
    then = branch('then', helper.make_node('Mul', ['x', 'scale'], ['scaled'], name='own'),
                  constants=[constant('scale', 2)])
    other = branch('other', helper.make_node('Identity', ['sum'], ['scale'], name='shadow'),
                   helper.make_node('Add', ['sum', 'scale'], ['summed'], name='computed'))
    body = helper.make_graph(
        [helper.make_node('If', ['on'], ['next'], name='choose', then_branch=then,
                          else_branch=other),
         helper.make_node('Mul', ['next', 'scale'], ['after'], name='outer'),
         helper.make_node('Identity', ['on'], ['on_next'])],
        'body', [value('round', kind=TensorProto.INT64), value('on', kind=TensorProto.BOOL),
                 value('sum')],
        [value('on_next', kind=TensorProto.BOOL), value('after')])
    nodes = [helper.make_node('Constant', [], ['go'], value=numpy_helper.from_array(
                 np.array(True), 'its own name')),
             helper.make_node('Loop', ['', 'go', 'x'], ['y'], name='loop', body=body)]
    model = helper.make_model(
        helper.make_graph(nodes, 'main', [value('x', 'N', 4)], [value('y', 'N', 4)],
                          [constant('scale', 3)]),
        opset_imports=[helper.make_opsetid('', 17), helper.make_opsetid('own', 1)])
    model.functions.append(helper.make_function(
        'own', 'f', ['a'], ['b'], [helper.make_node('Mul', ['a', 'scale'], ['b'], name='inside')],
        [helper.make_opsetid('', 17)]))
    return model


def test_nodes_and_graphs_of_branches_loops_and_functions_are_seen() -> None:
    model = nested()
    assert [node.op_type for node in nodes_of(model)] == [
        'Constant', 'Loop', 'If', 'Identity', 'Add', 'Mul', 'Mul', 'Identity', 'Mul']
    assert [graph.name for graph in graphs_of(model)] == ['main', 'f', 'body', 'other', 'then']
    assert [graph.name for graph in subgraphs_of(model.graph.node[1])] == ['body']
    assert {'loop', 'shadow', 'inside', 'scaled', 'scale', 'a', 'round'} <= set(names_of(model))
    assert opset_of(model) == 17
    assert opset_of(onnx.ModelProto()) == 0


def test_a_constant_is_what_the_reader_sees_where_its_name_is_shadowed() -> None:
    seen = {node.name: constants.get('scale')
            for node, constants in nodes_with_constants(nested())}
    found = {name: None if one is None else float(numpy_helper.to_array(one)[0])
             for name, one in seen.items()}
    # A function sees nothing of the graph that calls it.
    assert {name: found[name] for name in ('own', 'computed', 'outer', 'inside')} == {
        'own': 2.0, 'computed': None, 'outer': 3.0, 'inside': None}


def test_values_of_constant_nodes_are_constants_under_the_name_of_their_output() -> None:
    constants = constants_in(nested().graph)
    assert set(constants) == {'scale', 'go'}
    assert numpy_helper.to_array(constants['go']).item() is True
    without = helper.make_graph(
        [helper.make_node('Constant', [], [], value=constant('c', 1)),
         helper.make_node('Constant', [], ['s'], value_float=1.0)], 'g', [], [])
    assert constants_in(without) == {}


def test_inputs_that_are_left_out_are_read_and_made_by_nobody() -> None:
    graph = helper.make_graph(
        [helper.make_node('Dropout', ['x'], ['kept', '']),
         helper.make_node('Clip', ['kept', '', 'high'], ['y'])], 'g', [value('x')], [value('y')],
        [constant('high', 6)])
    assert names_read(graph.node) == {'x', 'kept', 'high'}
    assert set(producers_of(graph)) == {'kept', 'y'}
    remove_unread(graph)
    assert len(graph.node) == 2
    assert trace_back('', producers_of(graph), {'Dropout'}) == ''


def test_readers_are_renamed_in_branches_but_not_where_the_name_is_anothers() -> None:
    model = nested()
    assert names_read(model.graph.node) >= {'x', 'go', 'scale', 'on', 'scaled', 'summed', 'after'}
    rename_readers(model.graph.node, 'scale', 'gain')
    inputs = {node.name: list(node.input) for node in nodes_of(model)}
    assert inputs['outer'] == ['next', 'gain']
    assert inputs['own'] == ['x', 'scale']
    assert inputs['computed'] == ['sum', 'scale']
    rename_readers(model.graph.node, 'x', 'picture')
    inputs = {node.name: list(node.input) for node in nodes_of(model)}
    assert inputs['loop'] == ['', 'go', 'picture']
    assert inputs['own'] == ['picture', 'scale']


def test_a_branchs_output_that_is_a_tensor_around_it_is_renamed() -> None:
    then = helper.make_graph([], 'then', [], [value('x')])
    node = helper.make_node('If', ['c'], ['y'], then_branch=then)
    assert names_read([node]) == {'c', 'x'}
    rename_readers([node], 'x', 'z')
    assert names_read([node]) == {'c', 'z'}


def test_a_tensor_is_followed_back_also_in_a_circle() -> None:
    graph = helper.make_graph(
        [helper.make_node('Cast', ['x'], ['a']), helper.make_node('Transpose', ['a'], ['b']),
         helper.make_node('Relu', ['b'], ['c']), helper.make_node('Cast', ['q'], ['p']),
         helper.make_node('Cast', ['p'], ['q'])], 'g', [], [])
    producers = producers_of(graph)
    assert trace_back('b', producers, ('Cast', 'Transpose')) == 'x'
    assert trace_back('b', producers, ('Transpose',)) == 'a'
    assert trace_back('c', producers, ('Cast', 'Transpose')) == 'c'
    assert trace_back('p', producers, ('Cast',)) in ('p', 'q')


def test_unread_nodes_and_constants_go_and_those_that_a_branch_reads_stay() -> None:
    model = nested()
    graph = model.graph
    graph.initializer.append(constant('dead bound', 1))
    graph.node.insert(0, helper.make_node('Clip', ['x', 'dead bound'], ['dead']))
    graph.node.insert(1, helper.make_node('Relu', ['dead'], ['deader']))
    remove_unread(graph)
    assert [node.op_type for node in graph.node] == ['Constant', 'Loop']
    assert [one.name for one in graph.initializer] == ['scale']


def test_nodes_can_be_replaced_by_their_own() -> None:
    graph = nested().graph
    replace_all(graph.node, [graph.node[1], helper.make_node('Relu', ['x'], ['r']),
                             graph.node[0]])
    assert [node.op_type for node in graph.node] == ['Loop', 'Relu', 'Constant']
    assert graph.node[0].attribute[0].g.name == 'body'


@pytest.mark.parametrize(('kind', 'where'), [
    ('Add', "the Loop 'loop'"), ('Mul', "the Loop 'loop'")])
def test_layers_in_subgraphs_are_refused_by_name(kind: str, where: str) -> None:
    with pytest.raises(ModelError, match=where):
        refuse_in_subgraphs(nested(), {kind}, 'pruned')
    refuse_in_subgraphs(nested(), {'Conv', 'Loop'}, 'pruned')


def test_layers_in_functions_are_refused_too() -> None:
    model = nested()
    del model.graph.node[:]
    with pytest.raises(ModelError, match="'inside' is within a function"):
        refuse_in_subgraphs(model, {'Mul'}, 'pruned')


def test_shapes_are_numbers_names_or_unknown() -> None:
    graph = helper.make_graph(
        [helper.make_node('MatMul', ['x', 'w'], ['y']), helper.make_node('Own', ['y'], ['z'],
                                                                         domain='own')],
        'g', [value('x', 'N', 2), value('w', 2, 3)], [value('z', None, 3)],
        [numpy_helper.from_array(np.zeros((2, 3), np.float32), 'w')])
    model = helper.make_model(graph, opset_imports=[
        helper.make_opsetid('', 17), helper.make_opsetid('own', 1)])
    shapes = shapes_of(model)
    assert (shapes['x'], shapes['y'], shapes['z'], shapes['w']) == (
        ('N', 2), ('N', 3), ('?', 3), (2, 3))
    assert [one.name for one in inputs_of(model.graph)] == ['x']
    assert weight_types(model) == {TensorProto.FLOAT}
    graph.input[0].CopyFrom(value('x', 'N', 5))
    with pytest.raises(ModelError, match='contradict'):
        shapes_of(helper.make_model(graph))


@pytest.mark.parametrize(('kind', 'dtype'), [
    (TensorProto.FLOAT16, 'float16'), (TensorProto.STRING, 'string'), (0, '?'), (99, '?')])
def test_types_are_numpys_or_unknown(kind: int, dtype: str) -> None:
    assert tensor_info(value('x', 1, kind=kind)).dtype == dtype


def test_attributes_and_names_have_defaults() -> None:
    node = helper.make_node('Gemm', ['x', 'w'], ['y'], transB=1)
    assert (integer(node, 'transB'), integer(node, 'transA'), integer(node, 'other', 7)) == (
        1, 0, 7)
    assert [output_axis(one) for one in (
        node, helper.make_node('Gemm', [], []), helper.make_node('MatMul', [], []),
        helper.make_node('Conv', [], []))] == [0, 1, 1, 0]
    assert name_of(node) == 'y'
    assert name_of(helper.make_node('Gemm', [], [])) == 'Gemm'
    assert name_of(helper.make_node('Gemm', [], ['y'], name='fc')) == 'fc'


def test_int8_is_seen_within_a_branch() -> None:
    model = nested()
    assert not is_int8(model)
    inner = model.graph.node[1].attribute[0].g.node[0]
    subgraphs_of(inner)[0].node.append(helper.make_node('QuantizeLinear', ['a', 'b'], ['c']))
    assert is_int8(model)


@pytest.mark.parametrize('change', ['fewer', 'negative', 'type', 'sparse'])
def test_a_constant_whose_bytes_do_not_fit_is_named_wherever_it_is(change: str) -> None:
    model = nested()
    assert damaged_constant(model) is None
    inner = model.graph.node[1].attribute[0].g.node[0].attribute
    weight = next(one.g for one in inner if one.name == 'then_branch').initializer[0]
    weight.name = 'inner scale'
    if change == 'fewer':
        weight.raw_data = weight.raw_data[:-1]
    elif change == 'negative':
        weight.dims[0] = -1
    elif change == 'type':
        weight.data_type = 99
    else:
        sparse = helper.make_sparse_tensor(
            constant('inner scale', 1, 2), numpy_helper.from_array(np.array([0]), 'places'), [5])
        sparse.values.raw_data = b''
        model.graph.node[0].CopyFrom(helper.make_node(
            'Constant', [], ['go'], sparse_value=sparse))
    assert damaged_constant(model) == 'inner scale'


def test_an_invalid_graph_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node('Relu', ['x'], ['y'])], 'g', [value('x', 2)], [value('y', 2)])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid('', 17)])
    check_valid(model, 'it')
    model.graph.node[0].input[0] = 'nowhere'
    onnx.save(model, str(tmp_path / 'model.onnx'))
    for one in (model, tmp_path / 'model.onnx'):
        with pytest.raises(ModelError, match='it is not a valid ONNX graph'):
            check_valid(one, 'it')
