"""`resnet_trt check`: each clause of the contract, kept and not, and the command that mends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import re
import shlex

from documentation.json_schemas import checked
from models.classifiers import CLASSES, write_classifier
from models.tiny_model import COLOURS, write_blind_model, write_tiny_model
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec, spec_of, write_model_spec
from resnet_trt_node.contract.onnx_graph import drop_shapes
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.contract_check import check_contract
from resnet_trt_node.onnx_tools.preparation.advice import advise

CLAUSES = [
    'one file', 'constants', 'graph', 'opset', 'metadata', 'resize', 'class names', 'precision',
    'activation', 'input', 'output', 'graph precision', 'batches', 'probabilities']


def changed(path, change):
    """Write the tiny model after a change of it."""
    model = onnx.load(str(write_tiny_model(path)))
    change(model)
    onnx.save(model, str(path))
    return path


def set_property(name, value):
    def change(model):
        for one in model.metadata_props:
            if one.key == f'resnet_trt.{name}':
                one.value = value
    return change


def broken(path) -> dict[str, str]:
    """Return the clauses that are not kept, with what is wrong."""
    report = check_contract(path)
    assert [clause.name for clause in report.clauses] == CLAUSES
    return {clause.name: str(clause.error) for clause in report.clauses if clause.error}


def unchecked(path) -> set[str]:
    return {clause.name for clause in check_contract(path).clauses if not clause.checked}


def test_a_deployable_model_keeps_every_clause(tmp_path):
    path = write_tiny_model(tmp_path / 'net.onnx')
    report = check_contract(path)
    assert report.deployable
    assert report.own
    assert broken(path) == {}
    assert unchecked(path) == set()


def test_a_classifier_from_elsewhere_keeps_what_it_keeps(tmp_path):
    path = write_classifier(tmp_path / 'net.onnx')
    report = check_contract(path)
    assert not report.own
    assert set(broken(path)) == {'metadata', 'input', 'output'}
    assert unchecked(path) == {
        'resize', 'class names', 'precision', 'activation', 'graph precision', 'batches',
        'probabilities'}


@pytest.mark.parametrize(('name', 'value', 'clause', 'said'), [
    ('contract', '9', 'metadata', 'contract .9.'),
    ('labels', '["a", "b"]', 'output', '8 outputs and 2 class names'),
    ('labels', '"abcdefgh"', 'class names', 'no list of strings'),
    ('labels', '[]', 'class names', 'no class names'),
    ('labels', 'x', 'class names', 'malformed'),
    ('resize', '{}', 'resize', 'malformed'),
    ('resize', '{"short_side": 8, "crop": [32, 32], "interpolation": "bilinear"}', 'resize',
     'smaller than the crop'),
    ('resize', '{"short_side": 36, "crop": [16, 32], "interpolation": "bilinear"}', 'input',
     'it must be'),
    ('precision', 'fp8', 'precision', 'unknown precision'),
    ('precision', 'fp16', 'graph precision', 'fp16, and the graph computes in fp32')])
def test_one_wrong_property_is_one_broken_clause(tmp_path, name, value, clause, said):
    path = changed(tmp_path / 'net.onnx', set_property(name, value))
    found = broken(path)
    assert set(found) == {clause}
    assert re.search(said, found[clause])
    # The contract itself refuses the model for the same reason, in the same words.
    if clause != 'graph precision':
        with pytest.raises(ModelError) as caught:
            read_model_spec(path)
        assert str(caught.value) == f'{path}: {found[clause]}'


def float_input(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def fixed_batch(model):
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def other_name(model):
    model.graph.output[0].name = model.graph.node[-1].output[0] = 'scores'


@pytest.mark.parametrize(('change', 'clauses'), [
    (float_input, {'input'}), (fixed_batch, {'input', 'output'}), (other_name, {'output'})])
def test_inputs_and_outputs_are_checked(tmp_path, change, clauses):
    path = changed(tmp_path / 'net.onnx', change)
    assert set(broken(path)) == clauses
    assert unchecked(path) == {'batches', 'probabilities'}


@pytest.mark.parametrize('side', [0, -5])
@pytest.mark.parametrize('what', ['input', 'output'])
def test_a_side_without_a_length_is_told(tmp_path, what, side):
    def shrink(model):
        del model.metadata_props[:]
        value, = getattr(model.graph, what)
        value.type.tensor_type.shape.dim[1].dim_value = side
    found = broken(changed(tmp_path / 'net.onnx', shrink))
    assert f'has the shape (N, {side}' in found[what]
    assert 'batches' not in found


def test_tensors_in_other_files_are_told(tmp_path):
    path = write_classifier(tmp_path / 'net.onnx', external=True)
    found = broken(path)
    assert 'net.onnx.data' in found['one file']
    assert 'graph' in unchecked(path)
    # The other file need not be there.
    (tmp_path / 'net.onnx.data').unlink()
    assert broken(path) == found


def test_damaged_constants_are_told(tmp_path):
    def cut(model):
        model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]
    path = changed(tmp_path / 'net.onnx', cut)
    assert set(broken(path)) == {'constants'}
    assert unchecked(path) == {'graph', 'batches', 'probabilities'}


def test_a_graph_that_is_not_valid_is_told(tmp_path):
    def add(model):
        model.graph.node.append(helper.make_node('Relu', ['nothing'], ['lost']))
    assert set(broken(changed(tmp_path / 'net.onnx', add))) == {'graph'}


def test_an_opset_of_the_future_is_told(tmp_path):
    def raise_opset(model):
        model.opset_import[0].version = 999
    found = broken(changed(tmp_path / 'net.onnx', raise_opset))
    assert 'opset 999' in found['opset']


def test_a_newer_opset_than_old_runtimes_read_is_a_remark(tmp_path):
    def raise_ir(model):
        model.ir_version = 9
    report = check_contract(changed(tmp_path / 'net.onnx', raise_ir))
    assert report.deployable
    assert 'TensorRT 8.6' in next(one.found for one in report.clauses if one.name == 'opset')


def test_rows_that_are_no_probabilities_are_told(tmp_path):
    def without_softmax(model):
        model.graph.node[-1].op_type = 'Sigmoid'
        del model.graph.node[-1].attribute[:]
    found = broken(changed(tmp_path / 'net.onnx', without_softmax))
    assert set(found) == {'probabilities'}
    assert 'instead of 1' in found['probabilities']


def test_answers_of_another_shape_than_declared_are_told(tmp_path):
    def for_one_only(model):
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 8]), 'one'))
        softmax = model.graph.node.pop()
        model.graph.node.append(helper.make_node('Reshape', ['logits', 'one'], ['single']))
        softmax.input[0] = 'single'
        model.graph.node.append(softmax)
        drop_shapes(model)
        dims = model.graph.output[0].type.tensor_type.shape
        for side in ('N', 8):
            dims.dim.add(**{'dim_param' if side == 'N' else 'dim_value': side})
    path = changed(tmp_path / 'net.onnx', for_one_only)
    assert set(broken(path)) == {'batches'}
    assert unchecked(path) == {'probabilities'}


def test_an_input_of_any_size_does_not_fill_the_memory(tmp_path):
    def enlarge(model):
        del model.metadata_props[:]
        for place in (1, 2):
            model.graph.input[0].type.tensor_type.shape.dim[place].dim_value = 2_000_000
    assert 'too large to be tried' in broken(changed(tmp_path / 'net.onnx', enlarge))['batches']


def test_nan_on_white_alone_is_not_what_synthetic_frames_show(tmp_path):
    assert check_contract(write_blind_model(tmp_path / 'net.onnx')).deployable


@pytest.mark.parametrize('kind', [
    {}, {'layout': 'nhwc'}, {'batch': 2}, {'side': None}, {'ends': 'probabilities'},
    {'ends': 'four'}, {'external': True}, {'dtype': np.float16}])
def test_the_command_that_is_advised_makes_it_deployable(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    write_classifier(Path('a net.onnx'), **kind)
    Path('labels.txt').write_text(''.join(f'class {index}\n' for index in range(CLASSES)))
    assert main(['check', 'a net.onnx', '--json']) == 1
    document = checked(capsys.readouterr().out)
    words = shlex.split(document['command'])
    assert words[:3] == ['resnet_trt', 'prepare', 'a net.onnx']
    assert main(words[1:]) == 0
    assert main(['check', words[4]]) == 0
    assert 'a net_deployable.onnx: deployable' in capsys.readouterr().out


def test_what_the_file_does_not_tell_is_said(tmp_path):
    advice = advise(write_classifier(tmp_path / 'net.onnx', side=None))
    text = ' '.join(advice.notes)
    for word in ('mean and std', '6 class names', '224 is a guess'):
        assert word in text
    assert '--crop' in advice.words


def test_a_graph_that_normalises_itself_is_noticed(tmp_path):
    path = write_classifier(tmp_path / 'net.onnx')
    model = onnx.load(str(path))
    model.graph.node.insert(0, helper.make_node('Div', ['input', 'range'], ['scaled']))
    model.graph.node[1].input[0] = 'scaled'
    model.graph.initializer.append(numpy_helper.from_array(np.float32(255), 'range'))
    onnx.save(model, str(path))
    advice = advise(path)
    assert '--mean 0 --std 1' in ' '.join(advice.words)
    assert 'begins with Div' in ' '.join(advice.notes)


def test_of_several_outputs_one_is_guessed(tmp_path):
    path = write_classifier(tmp_path / 'net.onnx')
    model = onnx.load(str(path))
    model.graph.output.insert(
        0, helper.make_tensor_value_info('pool', TensorProto.FLOAT, ('batch', 8, 1, 1)))
    onnx.save(model, str(path))
    advice = advise(path)
    assert '--output-name output' in ' '.join(advice.words)
    assert 'pool, output' in ' '.join(advice.notes)


def test_what_prepare_cannot_mend_is_said(tmp_path):
    advice = advise(write_classifier(tmp_path / 'net.onnx', dtype=np.float64))
    assert advice.words == ()
    assert 'float64' in advice.notes[0]
    # It is not filled to be tried.
    advice = advise(write_classifier(tmp_path / 'net.onnx', batch=2**31 - 1))
    assert advice.words == ()
    assert 'batch size of 2147483647 is too large' in advice.notes[0]
    advice = advise(write_classifier(tmp_path / 'net.onnx', ends='sigmoid'))
    assert 'Sigmoid' in advice.notes[-1]


def test_what_our_own_tools_made_is_not_to_be_prepared(tmp_path, capsys):
    path = changed(tmp_path / 'net.onnx', set_property('labels', '["a"]'))
    assert main(['check', str(path)]) == 1
    out = capsys.readouterr().out
    assert 'not deployable, 1 clause of 14 not kept' in out
    assert 'export it again with --labels' in out
    assert 'resnet_trt prepare' not in out
    assert main(['check', str(path), '--json']) == 1
    document = checked(capsys.readouterr().out)
    assert document['command'] is None
    assert [one['clause'] for one in document['clauses']] == CLAUSES
    states = {one['clause']: one['state'] for one in document['clauses']}
    assert (states['one file'], states['output'], states['batches']) == (
        'ok', 'not ok', 'not checked')


@pytest.mark.parametrize('content', [b'', b'no model', b'\x08\x08'])
def test_what_is_no_onnx_is_one_line(tmp_path, capsys, content):
    (tmp_path / 'net.onnx').write_bytes(content)
    assert main(['check', str(tmp_path / 'net.onnx')]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count('\n')) == ('', 1)


def test_names_of_the_file_command_no_terminal(tmp_path, capsys):
    path = tmp_path / 'net.onnx'
    model = onnx.load(str(write_tiny_model(path)))
    write_model_spec(model, replace(
        spec_of(model), labels=('\x1b[2J', 'two\nlines', *list(COLOURS)[2:])))
    onnx.save(model, str(path))
    assert main(['check', str(path)]) == 0
    out = capsys.readouterr().out
    assert '\x1b' not in out
    assert len(out.splitlines()) == 1 + len(CLAUSES)
