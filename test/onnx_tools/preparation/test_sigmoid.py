"""Binary and multi-label classifiers become deployable; plain ONNX Runtime is the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from documentation.json_schemas import checked
from models.classifiers import CLASSES, SIDE, write_classifier
import numpy as np
import onnx
from onnx import helper, numpy_helper
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec, write_model_spec
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import LabelsError, ModelError, UsageError
from resnet_trt_node.onnx_tools.contract_check import check_contract
from resnet_trt_node.onnx_tools.preparation.prepare import prepare, PreparedModel
from resnet_trt_node.onnx_tools.temperature import temperature_of, write_calibrated

FRAMES = np.random.default_rng(5).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
HOW = {'mean': [100.0, 110.0, 120.0], 'std': [50.0, 55.0, 60.0]}


def run(path: Path, feeds: dict[str, Any]) -> Any:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, feeds)[0]


def original(path: Path, dtype: Any = np.float32) -> Any:
    """Return the original's numbers, float64 (5, C)."""
    x = ((FRAMES - np.array(HOW['mean'])) / np.array(HOW['std'])).astype(dtype)
    return run(path, {'input': x.transpose(0, 3, 1, 2)}).reshape(5, -1).astype(np.float64)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def prepared(source: Path, **options: Any) -> PreparedModel:
    return prepare(source, source.with_name('out.onnx'), **{**HOW, **options})


@pytest.mark.parametrize(('ends', 'activation', 'added'), [
    ('logits', 'sigmoid', 'sigmoid'), ('four', 'sigmoid', 'sigmoid'),
    ('row', 'sigmoid', 'sigmoid'), ('sigmoid', 'auto', 'none'),
    ('sigmoid', 'sigmoid', 'none'), ('sigmoid', 'none', 'none')])
@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_one_output_becomes_two_classes(
        tmp_path: Path, ends: str, activation: str, added: str, dtype: Any) -> None:
    source = write_classifier(tmp_path / 'in.onnx', ends=ends, classes=1, dtype=dtype)
    report = prepared(source, activation=activation, labels=['cat'])
    assert (report.activation, report.binary) == (added, True)
    spec = read_model_spec(report.path)
    assert (spec.labels, spec.activation, spec.multi_label) == (
        ('not cat', 'cat'), 'sigmoid', False)
    numbers = original(source, dtype)
    p = numbers if ends == 'sigmoid' else sigmoid(numbers)
    found = run(report.path, {'images': FRAMES})
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, np.concatenate([1 - p, p], axis=1), atol=1e-5 if dtype == np.float32 else 5e-3)
    assert np.ptp(found[:, 1]) > 0.02
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(('ends', 'activation', 'added'), [
    ('logits', 'sigmoid', 'sigmoid'), ('four', 'sigmoid', 'sigmoid'), ('sigmoid', 'auto', 'none'),
    ('sigmoid', 'sigmoid', 'none'), ('sigmoid', 'none', 'none')])
def test_each_class_of_a_multi_label_model_has_its_own_score(
        tmp_path: Path, ends: str, activation: str, added: str) -> None:
    source = write_classifier(tmp_path / 'in.onnx', ends=ends)
    report = prepared(source, activation=activation)
    assert (report.activation, report.binary, report.spec.multi_label) == (added, False, True)
    spec = read_model_spec(report.path)
    assert (spec.activation, spec.multi_label) == ('sigmoid', True)
    numbers = original(source)
    found = run(report.path, {'images': FRAMES})
    np.testing.assert_allclose(
        found, numbers if ends == 'sigmoid' else sigmoid(numbers), atol=1e-5)
    assert np.abs(found.sum(axis=1) - 1).min() > 0.05
    assert check_contract(report.path).deployable


@pytest.mark.parametrize(('labels', 'names'), [
    (None, ('class_0', 'class_1')), (['dog', 'cat'], ('dog', 'cat')),
    (['cat'], ('not cat', 'cat'))])
def test_the_names_of_a_binary_model(tmp_path: Path, labels: Any, names: tuple[str, str]) -> None:
    source = write_classifier(tmp_path / 'in.onnx', ends='sigmoid', classes=1)
    assert prepared(source, labels=labels).spec.labels == names
    with pytest.raises(LabelsError, match=r'3 labels, .*gives one number'):
        prepared(source, labels=list('abc'))


@pytest.mark.parametrize(('made', 'asked', 'keyword'), [
    ({'classes': 1}, {}, 'does not end in a Sigmoid: pass --activation sigmoid'),
    ({'classes': 1}, {'activation': 'softmax'}, 'whose softmax is always 1'),
    ({'classes': 1}, {'activation': 'none'}, 'no probability: pass --activation sigmoid'),
    ({'ends': 'probabilities'}, {'activation': 'sigmoid'}, 'sum to 1.*--activation none'),
    ({}, {'activation': 'none'}, 'softmax if .* sigmoid if any number')])
def test_what_leaves_a_choice_says_which_option(
        tmp_path: Path, made: dict[str, Any], asked: dict[str, Any], keyword: str) -> None:
    source = write_classifier(tmp_path / 'in.onnx', **made)
    with pytest.raises(UsageError, match=keyword):
        prepared(source, **asked)
    assert not (tmp_path / 'out.onnx').exists()


def test_a_probability_of_no_sigmoid_is_taken_at_its_word(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', ends='sigmoid', classes=1)
    model = onnx.load(str(source))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), 'half'))
    model.graph.node.append(helper.make_node('Mul', ['output', 'half'], ['halved']))
    model.graph.output[0].name = 'halved'
    onnx.save(model, str(source))
    with pytest.raises(UsageError, match='none if it is a probability'):
        prepared(source)
    report = prepared(source, activation='none')
    np.testing.assert_allclose(
        run(report.path, {'images': FRAMES})[:, 1:], original(source), atol=1e-6)


def test_prepare_and_inspect_say_what_the_scores_are(tmp_path: Path, capsys: Any) -> None:
    for classes, said, kind in (
            (1, 'one probability, binary: class_1 has its score p, class_0 has 1 - p',
             'sigmoid, one class of all: they sum to 1'),
            (CLASSES, f'probabilities, multi-label: any number of {CLASSES} classes, class_0 to '
             'class_5', 'sigmoid, multi-label: each class by itself')):
        source = write_classifier(tmp_path / 'in.onnx', ends='sigmoid', classes=classes)
        words = ['prepare', str(source), '-o', str(tmp_path / 'out.onnx'), '--mean', '127',
                 '--std', '128']
        assert main(words) == 0
        assert f'  output   {said}\n' in capsys.readouterr().out
        assert main([*words, '--json']) == 0
        document = checked(capsys.readouterr().out)
        assert (document['activation'], document['binary'], document['multi_label']) == (
            'none', classes == 1, classes > 1)
        assert main(['inspect', str(tmp_path / 'out.onnx')]) == 0
        assert f'scores      {kind}\n' in capsys.readouterr().out
        assert main(['inspect', str(tmp_path / 'out.onnx'), '--json']) == 0
        spec = checked(capsys.readouterr().out)['spec']
        assert (spec['activation'], spec['multi_label']) == ('sigmoid', classes > 1)


def test_a_file_that_says_nothing_is_of_a_softmax_and_a_bare_sigmoid_multi_label() -> None:
    values = ModelSpec(8, 8, ('a', 'b'), **_rest()).to_metadata()
    assert values['resnet_trt.activation'] == 'softmax'
    del values['resnet_trt.activation'], values['resnet_trt.multi_label']
    assert ModelSpec.from_metadata(values).activation == 'softmax'
    assert not ModelSpec.from_metadata(values).multi_label
    assert ModelSpec.from_metadata(
        {**values, 'resnet_trt.activation': 'sigmoid'}).multi_label
    for wrong, reason in (
            ({'activation': 'relu'}, "activation 'relu'"),
            ({'multi_label': 'yes'}, "multi_label 'yes'"),
            ({'activation': 'softmax', 'multi_label': 'true'}, 'contradict'),
            ({'activation': 'sigmoid', 'multi_label': 'false',
              'labels': '["a", "b", "c"]'}, 'has two classes, this one has 3')):
        with pytest.raises(ModelError, match=reason):
            ModelSpec.from_metadata(
                {**values, **{f'resnet_trt.{name}': value for name, value in wrong.items()}})


def _rest() -> dict[str, Any]:
    from resnet_trt_node.contract.spec import ResizeRule
    return {'resize': ResizeRule(8, 8, 8), 'precision': 'fp32'}


def test_rows_of_a_multi_label_model_are_checked_for_their_range(tmp_path: Path) -> None:
    report = prepared(write_classifier(tmp_path / 'in.onnx'), activation='sigmoid')
    model = onnx.load(str(report.path))
    model.graph.node[-1].op_type = 'Identity'
    write_model_spec(model, report.spec)
    onnx.save(model, str(tmp_path / 'logits.onnx'))
    clause, = (one for one in check_contract(tmp_path / 'logits.onnx').clauses
               if one.name == 'probabilities')
    assert 'instead of probabilities' in str(clause.error)


def test_only_a_binary_logit_has_a_temperature(tmp_path: Path) -> None:
    binary = prepared(write_classifier(tmp_path / 'in.onnx', classes=1), activation='sigmoid')
    assert temperature_of(onnx.load(str(binary.path))) == 1
    write_calibrated(binary.path, tmp_path / 'calibrated.onnx', 2.0)
    found = run(tmp_path / 'calibrated.onnx', {'images': FRAMES})
    p = sigmoid(original(tmp_path / 'in.onnx') / 2)
    np.testing.assert_allclose(found, np.concatenate([1 - p, p], axis=1), atol=1e-5)
    assert (read_model_spec(tmp_path / 'calibrated.onnx').activation) == 'sigmoid'
    many = prepared(write_classifier(tmp_path / 'in.onnx'), activation='sigmoid')
    with pytest.raises(ModelError, match=r'multi-label.*score_threshold'):
        temperature_of(onnx.load(str(many.path)))
