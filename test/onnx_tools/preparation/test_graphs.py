"""Graphs of unusual forms are prepared rightly, or refused by the name of what is unusual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.classifiers import CLASSES, SIDE, write_classifier
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.normalisation import pick_normalisation
from resnet_trt_node.onnx_tools.preparation.prepare import prepare

FRAMES = np.random.default_rng(5).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
MEAN, STD = (100.0, 110.0, 120.0), (50.0, 55.0, 60.0)
PICTURE = (None, 3, SIDE, SIDE)


def _answers(path: Path, name: str, x: Any) -> Any:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {name: x})[0]


def _check_numbers(
        source: Path, prepared: Path, name: str = 'input', layout: str = 'nchw') -> None:
    x = ((FRAMES - np.array(MEAN)) / np.array(STD)).astype(np.float32)
    if layout == 'nchw':
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    logits = _answers(source, name, x).reshape(len(x), -1).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = _answers(prepared, 'images', FRAMES)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.01
    onnx.checker.check_model(str(prepared), full_check=True)


def _edited(path: Path, edit: Any, **made: Any) -> Path:
    source = write_classifier(path, **made)
    model = onnx.load(str(source))
    edit(model.graph)
    onnx.save(model, str(source))
    return source


def _branch(name: str, node: onnx.NodeProto, *constants: onnx.TensorProto) -> onnx.GraphProto:
    return helper.make_graph(
        [node], name, [], [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)],
        constants)


def _rescaling_if(graph: onnx.GraphProto, batch: Any = None) -> None:
    """Put an If in front, as converters of scikit-learn do: large values are divided."""
    x = graph.input[0].name
    for node in graph.node:
        for place, used in enumerate(node.input):
            if used == x:
                node.input[place] = 'chosen'
    graph.initializer.append(numpy_helper.from_array(np.float32(100), 'limit'))
    half = numpy_helper.from_array(np.float32(0.5), 'half')
    then = _branch('then', helper.make_node('Mul', [x, 'half'], ['halved'], name='halve'), half)
    other = _branch('else', helper.make_node('Identity', [x], ['same']))
    for node in (
            helper.make_node('If', ['large'], ['chosen'], name='rescale', then_branch=then,
                             else_branch=other),
            helper.make_node('Less', ['limit', 'top'], ['large']),
            helper.make_node('ReduceMax', [x], ['top'], keepdims=0)):
        graph.node.insert(0, node)


@pytest.mark.parametrize('made', [
    {}, {'layout': 'nhwc'}, {'names': ('images', 'probabilities')}, {'batch': 2}])
def test_branches_that_read_the_input_read_the_normalised_picture(
        tmp_path: Path, made: dict[str, Any]) -> None:
    # The values stay below 100 but for a first picture, so that both branches are taken.
    source = _edited(tmp_path / 'in.onnx', _rescaling_if, **made)
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert 'If' in {node.op_type for node in onnx.load(str(report.path)).graph.node}
    name = made.get('names', ('input', ''))[0]
    if 'batch' in made:
        source = _edited(tmp_path / 'free.onnx', _rescaling_if)
    _check_numbers(source, report.path, name, made.get('layout', 'nchw'))


def test_a_loop_whose_body_reads_the_input_and_a_branch_within_it(tmp_path: Path) -> None:
    def edit(graph: onnx.GraphProto) -> None:
        graph.initializer.extend([
            numpy_helper.from_array(np.int64(3), 'times'),
            numpy_helper.from_array(np.bool_(True), 'go')])
        inner = _branch('inner', helper.make_node('Add', ['sum', 'input'], ['more']))
        other = _branch('other', helper.make_node('Identity', ['input'], ['only']))
        body = helper.make_graph(
            [helper.make_node('If', ['on'], ['next'], then_branch=inner, else_branch=other),
             helper.make_node('Identity', ['on'], ['on_next'])], 'body',
            [helper.make_tensor_value_info('round', TensorProto.INT64, []),
             helper.make_tensor_value_info('on', TensorProto.BOOL, []),
             helper.make_tensor_value_info('sum', TensorProto.FLOAT, None)],
            [helper.make_tensor_value_info('on_next', TensorProto.BOOL, []),
             helper.make_tensor_value_info('next', TensorProto.FLOAT, None)])
        graph.node[0].input[0] = 'summed'
        graph.node.insert(0, helper.make_node(
            'Loop', ['times', 'go', 'input'], ['summed'], body=body, name='loop'))
    source = _edited(tmp_path / 'in.onnx', edit)
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    _check_numbers(source, report.path)


def test_a_transposition_without_an_order_is_none_of_channels(tmp_path: Path) -> None:
    def edit(graph: onnx.GraphProto) -> None:
        # Without an order all sides are reversed; twice gives the picture back.
        graph.node[0].input[0] = 'back'
        graph.node.insert(0, helper.make_node('Transpose', ['turned'], ['back']))
        graph.node.insert(0, helper.make_node('Transpose', ['input'], ['turned']))
    source = _edited(tmp_path / 'in.onnx', edit, layout='nhwc')
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    _check_numbers(source, report.path, layout='nhwc')


def _reshaped(*shape: int) -> Any:
    def edit(graph: onnx.GraphProto) -> None:
        graph.initializer.append(numpy_helper.from_array(np.array(shape), 'target'))
        graph.node[-1].output[0] = 'before'
        graph.node.append(helper.make_node('Reshape', ['before', 'target'], ['output']))
        graph.output[0].type.tensor_type.ClearField('shape')
    return edit


@pytest.mark.parametrize('shape', [(-1, CLASSES, 1, 1), (-1, 1, 1, CLASSES), (-1, 1, CLASSES)])
def test_sides_of_one_beside_the_classes_are_dropped(
        tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = _edited(tmp_path / 'in.onnx', _reshaped(*shape))
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert report.spec.num_classes == CLASSES
    _check_numbers(source, report.path)


@pytest.mark.parametrize('shape', [(-1, 3, 2), (-1, 2, 3, 1), (-1, 1), (-1,), (-1, 3, 1, 2)])
def test_maps_boxes_and_points_are_no_class_rows(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = _edited(tmp_path / 'in.onnx', _reshaped(*shape))
    with pytest.raises(ModelError, match=r"output 'output' .*\(N, C, 1, 1\)"):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert not (tmp_path / 'out.onnx').exists()


def test_a_segmentation_model_is_refused(tmp_path: Path) -> None:
    def edit(graph: onnx.GraphProto) -> None:
        del graph.node[1:]
        graph.node[0].output[0] = 'output'
        graph.output[0].type.tensor_type.ClearField('shape')
    source = _edited(tmp_path / 'in.onnx', edit)
    with pytest.raises(ModelError, match=r'\(3, 8, 7, 7\)'):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)


@pytest.mark.parametrize(('mean', 'std', 'way'), [
    ([123.7, 116.3, 103.5], [0.229, 0.224, 0.225], '--std 58.4 57.12 57.38'),
    ([127.5], [0.5], '--std 127.5 127.5 127.5'),
    ([128], [0.0078125], '--std'),
    ([0.485, 0.456, 0.406], [58.4, 57.1, 57.4], '--mean 123.7 116.3 103.5'),
    ([0.5], [255], '--mean 127.5')])
@pytest.mark.parametrize('scale', [None, 1.0, 255.0])
def test_mean_and_deviation_of_different_units_are_refused(
        mean: list[float], std: list[float], way: str, scale: Any) -> None:
    with pytest.raises(UsageError, match=f'different units.* write {way}'):
        pick_normalisation(mean, std, scale)


@pytest.mark.parametrize(('mean', 'std', 'scale'), [
    ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 255), ([0.5], [0.5], 255),
    ([0.1307], [0.3081], 255), ([0.5], [1], 255), ([0.4], [0.04], 255),
    ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], 1), ([127.5], [127.5], 1),
    ([127], [128], 1), ([0], [255], 1), ([103.939, 116.779, 123.68], [1], 1), ([0], [0.5], 255)])
def test_numbers_of_one_unit_are_taken(mean: list[float], std: list[float], scale: int) -> None:
    assert pick_normalisation(mean, std).scale == scale


def test_a_mean_beyond_the_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match=r'123\.7 .*--mean 0\.4851 0\.4851 0\.4851'):
        pick_normalisation([123.7], [58.4], 255.0)


def test_a_float64_input_is_named(tmp_path: Path) -> None:
    def edit(graph: onnx.GraphProto) -> None:
        graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
        graph.node[0].input[0] = 'single'
        graph.node.insert(0, helper.make_node('Cast', ['input'], ['single'], to=TensorProto.FLOAT))
    source = _edited(tmp_path / 'in.onnx', edit)
    with pytest.raises(ModelError, match=r'float64.*model\.float\(\)'):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)


def _with_dropout(mode: Any) -> Any:
    def edit(graph: onnx.GraphProto) -> None:
        graph.initializer.append(numpy_helper.from_array(np.float32(0.5), 'ratio'))
        graph.initializer.append(numpy_helper.from_array(np.bool_(mode), 'mode'))
        graph.node[0].output[0] = 'kept'
        graph.node.insert(1, helper.make_node(
            'Dropout', ['kept', 'ratio', 'mode'], ['conv'], name='drop'))
    return edit


def test_dropout_in_training_mode_is_named(tmp_path: Path) -> None:
    source = _edited(tmp_path / 'in.onnx', _with_dropout(True))
    with pytest.raises(ModelError, match=r"Dropout 'drop'.*model\.eval"):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    source = _edited(tmp_path / 'in.onnx', _with_dropout(False))
    _check_numbers(source, prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD).path)


def test_batch_norm_in_training_mode_and_random_numbers_are_named(tmp_path: Path) -> None:
    def train(graph: onnx.GraphProto) -> None:
        norm = next(node for node in graph.node if node.op_type == 'BatchNormalization')
        norm.attribute.append(helper.make_attribute('training_mode', 1))
        norm.output.extend(['mean_now', 'variance_now'])
    source = _edited(tmp_path / 'in.onnx', train, norm=True)
    with pytest.raises(ModelError, match=r"training mode .*'normed'"):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)

    def draw(graph: onnx.GraphProto) -> None:
        graph.node[0].output[0] = 'exact'
        graph.node.insert(1, helper.make_node('RandomNormalLike', ['exact'], ['noise']))
        graph.node.insert(2, helper.make_node('Add', ['exact', 'noise'], ['conv']))
    source = _edited(tmp_path / 'in.onnx', draw)
    with pytest.raises(ModelError, match=r"random numbers .*'noise'"):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)


def test_inputs_that_nothing_reads_are_left_out_and_reported(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def edit(graph: onnx.GraphProto) -> None:
        graph.input.insert(0, helper.make_tensor_value_info('mask', TensorProto.INT64, ('n', 7)))
    source = _edited(tmp_path / 'in.onnx', edit)
    assert main(['prepare', str(source), '-o', str(tmp_path / 'out.onnx'), '--mean', '100', '110',
                 '120', '--std', '50', '55', '60']) == 0
    assert 'removed  mask' in capsys.readouterr().out
    _check_numbers(write_classifier(tmp_path / 'plain.onnx'), tmp_path / 'out.onnx')


def test_an_input_that_only_a_branch_reads_is_one(tmp_path: Path) -> None:
    def edit(graph: onnx.GraphProto) -> None:
        _rescaling_if(graph)
        condition = next(node for node in graph.node if node.op_type == 'If')
        then = next(one.g for one in condition.attribute if one.name == 'then_branch')
        then.node[0].input[1] = 'gain'
        graph.input.append(helper.make_tensor_value_info('gain', TensorProto.FLOAT, ()))
    source = _edited(tmp_path / 'in.onnx', edit)
    with pytest.raises(ModelError, match=r'2 inputs .*gain \(\)'):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)


@pytest.mark.parametrize('kind', [TensorProto.INT64, TensorProto.STRING, 'sequence'])
def test_outputs_that_are_no_floats_are_named(tmp_path: Path, kind: Any) -> None:
    def edit(graph: onnx.GraphProto) -> None:
        graph.node[-1].output[0] = 'before'
        if kind == 'sequence':
            graph.node.append(helper.make_node('SequenceConstruct', ['before'], ['output']))
            value = helper.make_tensor_sequence_value_info('output', TensorProto.FLOAT, None)
        else:
            graph.node.append(helper.make_node('Cast', ['before'], ['output'], to=kind))
            value = helper.make_tensor_value_info('output', kind, ('n', CLASSES))
        graph.output[0].CopyFrom(value)
    source = _edited(tmp_path / 'in.onnx', edit)
    made = 'list or map' if kind == 'sequence' else TensorProto.DataType.Name(kind).lower()
    with pytest.raises(ModelError, match=f"output 'output' has the type {made}: "):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)


def test_a_graph_that_comes_out_invalid_replaces_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a pass would leave it that did not look into branches.
    monkeypatch.setattr(
        'resnet_trt_node.onnx_tools.preparation.prepare.rename_readers',
        lambda nodes, old, new: None)
    source = _edited(tmp_path / 'in.onnx', _rescaling_if)
    (tmp_path / 'out.onnx').write_bytes(b'what was there before')
    with pytest.raises(ModelError, match=r'in\.onnx is not a valid'):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert (tmp_path / 'out.onnx').read_bytes() == b'what was there before'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in.onnx', 'out.onnx']
