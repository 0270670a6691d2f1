"""The command quantize: what it refuses, and that it leaves everything as it was then."""

from __future__ import annotations

from pathlib import Path
import shutil
from typing import Any, Callable, Optional

from bags.sample_bags import pixels_of
from commands.quantize_command import quantize
from models.classifiers import write_classifier
import numpy as np
import onnx
from pictures.calibration_pictures import clouds, COUNT, write_pictures
import pytest
from resnet_trt_node.cli.models import quantize as command
from resnet_trt_node.contract.model_file import read_model_spec, write_model_spec
from resnet_trt_node.errors import InferenceError


def test_pictures_that_ranges_must_not_come_from_are_refused(
        fp32: Path, pictures: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / 'empty').mkdir()
    assert 'no pictures in' in refused(fp32, tmp_path / 'empty')
    assert 'there is no ' in refused(fp32, tmp_path / 'nowhere')
    assert 'is empty' in refused(fp32, '')
    assert 'generated' in refused(fp32, 'generated')
    few = write_pictures(tmp_path / 'few', clouds()[:31])
    assert '31 different' in refused(fp32, few)
    # Smaller than the model's input: enlarging makes neighbouring pixels alike.
    noise = write_pictures(tmp_path / 'noise', np.stack([pixels_of(n) for n in range(COUNT)]))
    assert '40 of 40 ' in refused(fp32, noise)
    stills = write_pictures(tmp_path / 'stills', np.repeat(clouds()[:20], 2, axis=0))
    assert '20 different' in refused(fp32, stills)
    whole = shutil.copytree(pictures, tmp_path / 'pictures')
    data = (whole / '11.png').read_bytes()
    (whole / '11.png').write_bytes(data[:len(data) // 2])
    message = refused(fp32, whole)
    assert str(whole / '11.png') in message
    assert 'leave it out' in message


def test_models_that_are_no_fp32_ones_are_refused(
        fp32: Path, int8: Path, resnet18_fp16: Path, pictures: Path, tmp_path: Path,
        refused: Callable[..., str]) -> None:
    assert 'int8.onnx: it is int8' in refused(int8, pictures)
    assert 'is fp16' in refused(resnet18_fp16, pictures)
    assert 'no model at' in refused(tmp_path / 'none.onnx', pictures)
    # As another tool leaves it: without our metadata, or with those of the fp32 model.
    model = onnx.load(str(int8))
    write_model_spec(model, read_model_spec(fp32))
    onnx.save(model, str(tmp_path / 'liar.onnx'))
    assert 'liar.onnx: it is int8' in refused(tmp_path / 'liar.onnx', pictures)
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / 'foreign.onnx'))
    assert 'foreign.onnx: it is int8' in refused(tmp_path / 'foreign.onnx', pictures)
    plain = write_classifier(tmp_path / 'plain.onnx')
    assert 'plain.onnx: not a deployable' in refused(plain, pictures)
    model = onnx.load(str(fp32))
    for node in model.graph.node:
        if node.op_type == 'Relu':
            node.op_type = 'Log'
    onnx.save(model, str(tmp_path / 'broken.onnx'))
    assert 'becomes NaN' in refused(tmp_path / 'broken.onnx', pictures)


def test_options_that_cannot_be_used_are_refused(
        fp32: Path, pictures: Path, tmp_path: Path, refused: Callable[..., str],
        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'folder').mkdir()
    for words, keyword in (
            (('--limit', 0), '--limit 0'),
            (('--limit', 9), '--limit 9'),
            (('--min-pictures', 1), '--min-pictures 1'),
            (('--keep-worst', -1), '--keep-worst -1'),
            (('--keep-worst', 21), '--keep-worst 21'),
            (('--method', 'minmax', '--percentile', 99), '--method percentile'),
            (('--percentile', 5), '--percentile 5.0'),
            (('--sensitivity', tmp_path / 'folder'), 'is a folder'),
            (('--sensitivity', '/proc/layers.json'), 'cannot write /proc/layers.json'),
            (('--sensitivity', fp32), 'is also MODEL'),
            (('--sensitivity', tmp_path / 'new' / 'out.onnx' / 'layers.json'),
             'layers.json and --output'),
            (('--sensitivity', tmp_path / 'new'), 'new and --output'),
            (('-o', fp32), 'is also MODEL'),
            (('-o', '/proc/out.onnx'), 'cannot write /proc/out.onnx'),
            (('-o', tmp_path / 'folder'), 'is a folder')):
        assert keyword in refused(fp32, pictures, *words)
    with pytest.raises(SystemExit) as caught:
        quantize(fp32, pictures, tmp_path / 'out.onnx', '--method', 'guess')
    assert caught.value.code == 2
    assert "'guess' is unknown" in capsys.readouterr().err


@pytest.mark.parametrize('old', [None, b'an older model'])
def test_whatever_fails_late_leaves_the_place_as_it_was(
        fp32: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str], old: Optional[bytes]) -> None:
    out, file = tmp_path / 'out.onnx', tmp_path / 'layers.json'
    if old is not None:
        out.write_bytes(old)

    def check(code: int, message: str, *words: object) -> None:
        assert quantize(fp32, pictures, out, '--method', 'minmax', *words) == code
        captured = capsys.readouterr()
        assert captured.out == ''
        assert message in captured.err
        assert (out.read_bytes() if out.exists() else None) == old
        assert [path for path in tmp_path.iterdir() if path.is_file()] == [out][:old is not None]

    def fail(error: BaseException) -> Callable[..., Any]:
        def function(*_: object) -> Any:
            raise error
        return function

    def occupy(*words: object) -> Any:
        file.mkdir()
        return [command.LayerSensitivity('conv1', 1.0, 0.0)]

    with monkeypatch.context() as patch:
        patch.setattr(command, '_compare', fail(InferenceError('the runtime gave up')))
        check(2, 'the runtime gave up')
    with monkeypatch.context() as patch:
        patch.setattr(command, '_compare', fail(KeyboardInterrupt()))
        check(130, '')
    with monkeypatch.context() as patch:
        # Somebody takes the place while the layers are measured.
        patch.setattr(command, 'measure_sensitivity', occupy)
        check(2, 'is a folder', '--sensitivity', file)
