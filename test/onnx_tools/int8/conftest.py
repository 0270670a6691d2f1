"""What the tests of the command quantize share: pictures, models, and running it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable

from commands.quantize_command import quantize, report_of
from pictures.calibration_pictures import clouds, write_pictures
import pytest
from resnet_trt_node.onnx_tools.deployable import WrittenModel


@pytest.fixture(scope='session')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp('calibration') / 'pictures', clouds())


@pytest.fixture(scope='session')
def fp32(resnet18: WrittenModel) -> Path:
    return resnet18.path


@pytest.fixture(scope='session')
def int8(fp32: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('int8') / 'int8.onnx'
    assert quantize(fp32, pictures, out, '--method', 'minmax') == 0
    return out


@pytest.fixture
def report_on(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return what runs the command and returns its JSON document."""
    return partial(report_of, capsys)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Return what runs the command, which must fail in one line and leave nothing, not a trace."""
    def run(model: object, calibration: object, *words: object) -> str:
        capsys.readouterr()
        before = sorted(tmp_path.rglob('*'))
        assert quantize(model, calibration, tmp_path / 'new' / 'out.onnx', *words) == 2
        captured = capsys.readouterr()
        assert captured.out == ''
        assert captured.err.startswith('resnet_trt quantize: ')
        assert captured.err.count('\n') == 1, captured.err
        assert sorted(tmp_path.rglob('*')) == before
        return captured.err
    return run
