"""A deployable model is one file: tensors in others are refused wherever they are named."""

import os

from models.tiny_model import write_tiny_model
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from resnet_trt_node.contract.model_file import (
    load_model, load_with_outside_tensors, read_model_spec, spec_of)
from resnet_trt_node.errors import ModelError


@pytest.fixture
def path(tmp_path):
    return write_tiny_model(tmp_path / 'tiny.onnx')


@pytest.fixture
def model(path):
    return onnx.load(str(path))


def refusal_of(path):
    with pytest.raises(ModelError) as refusal:
        read_model_spec(path)
    return str(refusal.value)


def move_outside(tensor, location='weights.data'):
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value=location)
    data, tensor.raw_data = tensor.raw_data, b''
    return data


def subgraph_with(tensor):
    return helper.make_graph([], 'branch', [], [], [tensor])


def constant():
    return numpy_helper.from_array(np.array([1, 2], np.float32), 'constant')


def in_an_initialiser(model):
    return model.graph.initializer[0]


def in_an_attribute(model):
    model.graph.node.append(helper.make_node('Constant', [], ['c'], value=constant()))
    return model.graph.node[-1].attribute[0].t


def in_a_subgraph(model):
    inner = helper.make_node('If', ['x'], ['y'], then_branch=subgraph_with(constant()))
    outer = helper.make_graph([inner], 'outer', [], [])
    model.graph.node.append(helper.make_node('If', ['x'], ['z'], else_branch=outer))
    return model.graph.node[-1].attribute[0].g.node[0].attribute[0].g.initializer[0]


def in_a_function(model):
    node = helper.make_node('Constant', [], ['c'], value=constant())
    model.functions.append(helper.make_function(
        'own', 'f', [], ['c'], [node], [helper.make_opsetid('', 17)]))
    return model.functions[0].node[0].attribute[0].t


def in_a_sparse_initialiser(model):
    indices = numpy_helper.from_array(np.array([0, 1], np.int64), 'indices')
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(constant(), indices, [5]))
    return model.graph.sparse_initializer[0].values


@pytest.mark.parametrize('place', [
    in_an_initialiser, in_an_attribute, in_a_subgraph, in_a_function, in_a_sparse_initialiser])
def test_a_model_with_tensors_outside_its_file_is_refused(model, path, place):
    data = move_outside(place(model))
    (path.parent / 'weights.data').write_bytes(data)
    path.write_bytes(model.SerializeToString())
    for read in (read_model_spec, load_model):
        with pytest.raises(ModelError, match=r'weights\.data.*resnet_trt prepare'):
            read(path)


def test_prepare_takes_tensors_outside_in(model, path):
    spec = spec_of(model)
    data = move_outside(in_an_initialiser(model))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r'weights\.data.*copy'):
        load_with_outside_tensors(path)
    os.mkfifo(path.parent / 'weights.data')
    with pytest.raises(ModelError, match='named pipe'):
        load_with_outside_tensors(path)
    (path.parent / 'weights.data').unlink()
    (path.parent / 'weights.data').write_bytes(data)
    loaded = load_with_outside_tensors(path)
    assert loaded.graph.initializer[0].raw_data == data
    assert spec_of(loaded) == spec


@pytest.mark.parametrize(('location', 'reason'), [
    ('../weights.data', 'outside of'), ('/etc/hostname', 'outside of'),
    ('', 'cannot be read')])
def test_tensors_in_places_that_onnx_refuses_are_an_error(model, path, location, reason):
    (path.parent.parent / 'weights.data').write_bytes(b'')
    move_outside(in_an_initialiser(model), location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=reason):
        load_with_outside_tensors(path)


def test_many_odd_files_make_a_short_message(model, path):
    for name in ['a\n\x1b[1m', 'b' * 999, 'c', 'd', 'e']:
        model.graph.initializer.append(constant())
        move_outside(model.graph.initializer[-1], name)
    path.write_bytes(model.SerializeToString())
    message = refusal_of(path)
    assert f"'a\\n\\x1b[1m', {'b' * 200}, c and 2 more" in message
    assert len(message) < 400 + len(str(path))
