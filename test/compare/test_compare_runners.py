"""Polygraphy's own runners answer as ours do, and what they lack is reported."""

from __future__ import annotations

import sys

from models.tiny_model import write_blind_model
import numpy as np
import pytest
from resnet_trt_node.compare.choice import import_runners, open_subject
from resnet_trt_node.compare.runners import PolygraphySubject
from resnet_trt_node.errors import BackendUnavailable, InferenceError
from stand_ins.fake_subject import OPTIONS

# Polygraphy imports PyTorch where that is installed.
pytestmark = pytest.mark.slow


def test_answers_are_owned_by_the_caller(subject, frames):
    first = subject.infer(frames[:1])
    before = first.copy()
    subject.infer(frames[5:6])
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize('name', ['onnxruntime', 'polygraphy:onnxrt'])
def test_a_frame_without_an_answer_is_named(tmp_path, frames, name):
    blind = write_blind_model(tmp_path / 'blind.onnx')
    with open_subject(name, blind, OPTIONS) as subject:
        bad = np.full_like(frames[:2], 255)
        bad[0] = 0
        with pytest.raises(InferenceError, match=r'frame 1 .*NaN'):
            subject.infer(bad)
        assert np.isfinite(subject.infer(bad[:1])).all()


def test_polygraphys_own_runner_gives_the_same(model, subject, frames):
    with open_subject('polygraphy:onnxrt', model, OPTIONS) as theirs:
        assert isinstance(theirs, PolygraphySubject)
        assert (theirs.info.name, theirs.info.device) == ('polygraphy:onnxrt', 'CPU')
        np.testing.assert_allclose(theirs.infer(frames), subject.infer(frames), atol=1e-6)
        theirs.load(frames[:2])
        assert len(theirs.time(1, 3)) == 3


def test_missing_tensorrt_is_refused(model, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(BackendUnavailable, match='tensorrt cannot'):
        open_subject('polygraphy:trt', model, {'max_batch_size': 1})


def test_missing_polygraphy_is_refused(monkeypatch):
    import resnet_trt_node.compare as package
    monkeypatch.delitem(sys.modules, 'resnet_trt_node.compare.runners')
    monkeypatch.delattr(package, 'runners')
    monkeypatch.setitem(sys.modules, 'polygraphy.backend.base', None)
    with pytest.raises(BackendUnavailable, match='pip install polygraphy'):
        import_runners()
