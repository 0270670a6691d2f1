"""Reading the contract from a file: what is accepted, and in which words the rest is refused."""

from dataclasses import replace
import hashlib
import os
import re
import sys

from models.tiny_model import COLOURS, write_tiny_model
import onnx
from onnx import helper, TensorProto
import pytest
from resnet_trt_node.contract import model_file
from resnet_trt_node.contract.model_file import (
    file_sha256, load_model, read_model_spec, spec_of, write_model_spec)
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import BackendUnavailable, LabelsError, ModelError


@pytest.fixture
def path(tmp_path):
    return write_tiny_model(tmp_path / 'tiny.onnx', size=32, short_side=36)


@pytest.fixture
def model(path):
    return onnx.load(str(path))


def test_the_spec_of_a_deployable_model(path):
    spec = read_model_spec(path)
    assert (spec.height, spec.width) == (32, 32)
    assert spec.labels == tuple(COLOURS)
    assert spec.resize == ResizeRule(36, 32, 32, 'bilinear')
    assert spec.precision == 'fp32'
    assert spec.architecture == 'mean_colour'
    assert read_model_spec(str(path)) == spec


def test_the_ending_of_the_name_does_not_matter(path, tmp_path):
    for name in ('model', 'model.json', 'model.txt'):
        (tmp_path / name).write_bytes(path.read_bytes())
        assert read_model_spec(tmp_path / name) == read_model_spec(path)


def test_writing_a_spec_replaces_the_old_one_and_keeps_other_properties(model):
    model.metadata_props.add(key='author', value='someone')
    before = spec_of(model)
    write_model_spec(model, before)
    write_model_spec(model, before)
    assert spec_of(model) == before
    keys = [prop.key for prop in model.metadata_props]
    assert len(keys) == len(set(keys))
    assert {prop.key: prop.value for prop in model.metadata_props}['author'] == 'someone'


def test_weights_listed_among_the_inputs_are_not_inputs(model):
    # Older exporters do that.
    model.graph.input.append(helper.make_tensor_value_info('bias', TensorProto.FLOAT, [8]))
    assert spec_of(model).num_classes == 8


def test_the_digest_of_a_file(tmp_path):
    content = os.urandom(3 * (1 << 20) + 17)
    (tmp_path / 'file').write_bytes(content)
    assert file_sha256(tmp_path / 'file') == hashlib.sha256(content).hexdigest()


def refusal_of(path, kind=ModelError):
    with pytest.raises(kind) as refusal:
        read_model_spec(path)
    return str(refusal.value)


def test_no_name_a_missing_file_and_a_folder(tmp_path):
    assert 'no model file is named' in refusal_of('')
    assert f'no model at {tmp_path}/x.onnx' in refusal_of(tmp_path / 'x.onnx')
    assert f'{tmp_path} is a folder' in refusal_of(tmp_path)


@pytest.mark.parametrize('content', [b'', b'\x00' * 64, b'not a model', b'\x89PNG\r\n\x1a\n' * 9])
def test_a_file_that_is_no_model(tmp_path, content):
    path = tmp_path / 'x.onnx'
    path.write_bytes(content)
    message = refusal_of(path)
    assert f'{path} is not an ONNX file' in message
    assert '`resnet_trt prepare`' in message


def test_a_truncated_model(path):
    path.write_bytes(path.read_bytes()[:-200])
    assert f'{path} is not an ONNX file' in refusal_of(path)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read any file')
def test_an_unreadable_file_and_folder(path):
    path.chmod(0)
    assert f'{path}: Permission denied' in refusal_of(path)
    path.chmod(0o600)
    path.parent.chmod(0)
    try:
        assert f'{path}: Permission denied' in refusal_of(path)
    finally:
        path.parent.chmod(0o700)


def test_an_error_of_the_operating_system_is_reported(path, monkeypatch):
    def fail(*arguments, **options):
        raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(model_file, 'read_regular', fail)
    assert f'{path}: Permission denied' in refusal_of(path)


def test_without_onnx_the_message_names_the_package(path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(BackendUnavailable, match='pip install onnx'):
        load_model(path)


def refusal_of_graph(model, path, kind=ModelError):
    onnx.save(model, str(path))
    message = refusal_of(path, kind)
    assert message.startswith(f'{path}: ')
    return message


def test_a_float_classifier(model, path):
    del model.metadata_props[:]
    assert 'lacks contract, labels, precision, resize' in (
        refusal_of_graph(model, path))


def test_another_input_name(model, path):
    model.graph.input[0].name = 'input.1'
    assert re.search(r"'images' .*input\.1", refusal_of_graph(model, path))


def test_a_second_output(model, path):
    model.graph.output.append(helper.make_tensor_value_info('logits', TensorProto.FLOAT, ['N', 8]))
    assert re.search("'probabilities' .*probabilities, logits", refusal_of_graph(model, path))


@pytest.mark.parametrize(('dtype', 'words'), [
    (TensorProto.FLOAT, 'is float32'), (999, 'is ?')])
def test_another_input_type(model, path, dtype, words):
    model.graph.input[0].type.tensor_type.elem_type = dtype
    assert f"input 'images' {words}" in refusal_of_graph(model, path)


@pytest.mark.parametrize(('shape', 'words'), [
    (['N', 3, 32, 32], '(N, 3, 32, 32)'),
    ([1, 32, 32, 3], '(1, 32, 32, 3)'),
    (['N', 'H', 'W', 3], '(N, H, W, 3)'),
    (['N', 32, 32], '(N, 32, 32)'),
])
def test_another_input_shape(model, path, shape, words):
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info('images', TensorProto.UINT8, shape))
    message = refusal_of_graph(model, path)
    assert f'shape {words}' in message
    assert '(N, 32, 32, 3)' in message


def test_another_number_of_outputs_than_labels(model, path):
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info('probabilities', TensorProto.FLOAT, ['N', 9]))
    assert '9 outputs and 8 ' in refusal_of_graph(model, path, LabelsError)


def test_a_number_of_outputs_that_is_left_open(model, path):
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info('probabilities', TensorProto.FLOAT, ['N', 'C']))
    assert 'shape (N, C)' in refusal_of_graph(model, path)


# Files that are no files

def test_a_model_that_is_no_ordinary_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / 'pipe.onnx')
    assert 'pipe.onnx: it is a named pipe' in refusal_of(tmp_path / 'pipe.onnx')
    (tmp_path / 'zero.onnx').symlink_to('/dev/zero')
    assert 'zero.onnx: it is a device' in refusal_of(tmp_path / 'zero.onnx')
    with pytest.raises(OSError, match='device'):
        file_sha256(tmp_path / 'zero.onnx')


def test_a_file_over_protobufs_limit_is_refused_unread(tmp_path):
    with (tmp_path / 'vast.onnx').open('wb') as file:
        file.truncate(1 << 31)
    assert 'more than 2147483647 bytes' in refusal_of(tmp_path / 'vast.onnx')


# Text that is none

BAD_UTF8 = b'\xff\xfe\xed\xa0'


def with_bytes(model, path, text):
    """Write a model with text that is no UTF-8, which protobuf writes for nobody."""
    content = model.SerializeToString()
    assert content.count(text) >= 1
    path.write_bytes(content.replace(text, BAD_UTF8[:len(text)]))


@pytest.mark.parametrize('text', [b'KEYS', b'VALS'])
def test_properties_of_others_that_are_no_text_are_left_alone(model, path, text):
    spec = spec_of(model)
    model.metadata_props.add(key='KEYS', value='VALS')
    with_bytes(model, path, text)
    assert read_model_spec(path) == spec
    again = load_model(path)
    write_model_spec(again, replace(spec, architecture='other'))
    assert BAD_UTF8 in again.SerializeToString()
    assert spec_of(again).architecture == 'other'
    assert len(again.metadata_props) == len(model.metadata_props)


def test_properties_of_ours_that_are_no_text_are_missing(model, path):
    spec = spec_of(model)
    write_model_spec(model, replace(spec, precision='fp16'))
    with_bytes(model, path, b'fp16')
    assert 'its metadata lacks precision' in refusal_of(path)


def test_names_in_the_graph_that_are_no_text_are_refused(model, path):
    model.graph.node[0].name = 'NAME'
    with_bytes(model, path, b'NAME')
    message = refusal_of(path)
    assert f'{path} has the name {BAD_UTF8!r}' in message
    assert 'UTF-8' in message
