"""The commands export, prepare and inspect: what they print, and one line for every mistake."""

from __future__ import annotations

from pathlib import Path
import re
import subprocess
import sys

from documentation.json_schemas import checked
from models.classifiers import write_classifier
import onnx
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.downloads import transfer
from resnet_trt_node.onnx_tools.deployable import WrittenModel

pytestmark = pytest.mark.slow


def test_export_reports_what_it_wrote(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'new' / 'net.onnx'
    assert main(['export', '--arch', 'resnet18', '--weights', 'random', '--num-classes', '3',
                 '--image-size', '32', '--seed', '4', '-o', str(out)]) == 0
    text = capsys.readouterr().out
    assert 'resnet18 fp32, random, seed 4' in text
    assert 'uint8 (N, 32, 32, 3) RGB, short side to 37, bilinear, centre crop 32x32' in text
    assert re.search(r'PyTorch .*0\.0001', text)
    assert read_model_spec(out).num_classes == 3


def test_export_reports_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'net.onnx'
    assert main(['export', '--arch', 'resnet18', '--weights', 'random', '--num-classes', '3',
                 '--image-size', '32', '--precision', 'fp16', '--json', '-o', str(out)]) == 0
    report = checked(capsys.readouterr().out)
    assert report['path'] == str(out)
    assert (report['precision'], report['num_classes'], report['bound']) == ('fp16', 3, 0.01)
    assert 0 < report['max_abs_difference'] < 0.01


def test_prepare_prints_what_it_understood(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_classifier(tmp_path / 'in.onnx', batch=1, flatten='constant')
    assert main(['prepare', str(source), '-o', str(tmp_path / 'out.onnx'), '--mean', '127',
                 '--std', '128', '--resize', 'stretch']) == 0
    text = capsys.readouterr().out
    assert 'NCHW, (pixel - [127, 127, 127]) / [128, 128, 128], RGB' in text
    assert 'fixed at 1, made dynamic' in text
    assert 'logits, softmax added, 6 classes, class_0 to class_5' in text
    assert 'stretch to 16x16, bilinear' in text


def test_prepare_takes_the_names_in_the_metadata(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write_classifier(tmp_path / 'in.onnx'), tmp_path / 'out.onnx'
    names = ('tench', 'goldfish', "jack-o'-lantern", 'crane', 'robin', 'crane')
    model = onnx.load(str(source))
    # As Ultralytics writes them.
    model.metadata_props.add(key='names', value=str(dict(enumerate(names))))
    onnx.save(model, str(source))
    words = ['prepare', str(source), '-o', str(out), '--mean', '127', '--std', '128']
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "class names: 'names' in the metadata of in.onnx" in printed.err
    assert '6 classes, tench to crane (5)' in printed.out
    assert read_model_spec(out).labels == (
        'tench', 'goldfish', "jack-o'-lantern", 'crane (3)', 'robin', 'crane (5)')
    # What is given counts more.
    given = tmp_path / 'config.json'
    given.write_text('{"id2label": {"5": "f", "4": "e", "3": "d", "2": "c", "1": "b", "0": "a"}}')
    assert main([*words, '--labels', str(given)]) == 0
    assert 'class names' not in capsys.readouterr().err
    assert read_model_spec(out).labels == tuple('abcdef')


def test_inspect_shows_a_model(
        resnet18: WrittenModel, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['inspect', str(resnet18.path), '--all-labels']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'deployable  yes' in lines
    assert 'input       images uint8 (N, 64, 64, 3)' in lines
    assert 'resize      short side to 73, bilinear, centre crop 64x64' in lines
    assert lines[-1] == '     4  class_4'
    assert main(['inspect', str(resnet18.path), '--json']) == 0
    assert checked(capsys.readouterr().out)['spec']['labels'][0] == 'class_0'


def test_inspect_shows_what_is_not_deployable(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['inspect', str(write_classifier(tmp_path / 'net.onnx'))]) == 0
    assert 'deployable  no: ' in capsys.readouterr().out


@pytest.mark.parametrize(('words', 'keyword'), [
    (['export', '--arch', 'resnet18', '--weights', 'imagenet1k_v2'], 'no imagenet1k_v2'),
    (['export', '--weights', 'none.pth'], 'none.pth'),
    (['export', '--weights', 'random', '--labels', 'none.txt'], 'none.txt'),
    (['export', '--weights', 'random', '--image-size', '1'], 'image-size 1'),
    (['prepare', 'none.onnx', '-o', 'out.onnx', '--mean', '0', '--std', '255'],
     'none.onnx'),
    (['inspect', 'none.onnx'], 'none.onnx')])
def test_mistakes_are_one_line_and_exit_code_2(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        words: list[str], keyword: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.startswith(f'resnet_trt {words[0]}: ')
    assert keyword in captured.err
    assert captured.err.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_network_is_one_line(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    def unreachable(url: str) -> object:
        raise OSError('Network is unreachable')

    monkeypatch.setattr(transfer, '_open', unreachable)
    assert main(['export', '--cache', str(tmp_path / 'cache'),
                 '-o', str(tmp_path / 'net.onnx')]) == 2
    error = capsys.readouterr().err
    assert 'resnet50-11ad3fa6.pth (Network is unreachable)' in error
    assert error.count('\n') == 1
    assert not list(tmp_path.glob('*.onnx'))


def test_a_wrong_resize_is_argparses_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(['prepare', 'a', '-o', 'b', '--mean', '0', '--std', '1', '--resize', 'much'])
    assert caught.value.code == 2
    assert "'much'" in capsys.readouterr().err


@pytest.mark.parametrize('command', ['prepare', 'inspect'])
def test_commands_on_onnx_alone_do_not_load_pytorch(command: str) -> None:
    code = (f'import sys, resnet_trt_node.cli.models.{command}\n'
            'sys.exit("torch" in sys.modules)')
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
