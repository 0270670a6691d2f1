"""The runners keep Polygraphy's contract, and Polygraphy's own run beside them."""

from __future__ import annotations

import sys

from fake_subject import OPTIONS
import numpy as np
from polygraphy import config
from polygraphy.comparator import Comparator
from polygraphy.exception import PolygraphyException
from polygraphy.logger import G_LOGGER
import pytest
from resnet_trt_node.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeOptions
from resnet_trt_node.compare.choice import import_runners, open_subject
from resnet_trt_node.compare.runners import PolygraphySubject, runner_for, SubjectRunner
from resnet_trt_node.compare.subject import BackendSubject
from resnet_trt_node.errors import BackendUnavailable, InferenceError, UsageError
from tiny_model import write_blind_model


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    """Have Polygraphy check that `deactivate` leaves no state and that constant methods are so."""
    monkeypatch.setattr(config, 'INTERNAL_CORRECTNESS_CHECKS', True)
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        yield


def test_a_runner_keeps_the_contract(subject, frames):
    runner = SubjectRunner(subject, 'ours')
    assert (runner.name, runner.is_active) == ('ours', False)
    with pytest.raises(PolygraphyException, match='activated'):
        runner.infer({'images': frames[:2]})
    with runner:
        metadata = runner.get_input_metadata(use_numpy_dtypes=False)
        assert list(metadata) == ['images']
        assert tuple(metadata['images'].shape) == (None, 32, 32, 3)
        assert str(metadata['images'].dtype) == 'uint8'
        outputs = runner.infer({'images': frames[:3]})
        assert list(outputs) == ['probabilities']
        assert outputs['probabilities'].shape == (3, 8)
        assert 0 < runner.last_inference_time() < 1
        with pytest.raises(PolygraphyException):
            runner.infer({'images': frames[:3].astype(np.float32)})
        with pytest.raises(PolygraphyException):
            runner.infer({'pictures': frames[:3]})
    assert runner.is_active is False
    # The subject was given open: it is not the runner's to close.
    assert len(subject.infer(frames[:1]).probabilities) == 1


def test_a_runner_closes_what_it_opened(model, frames):
    opened = []

    def open_subject():
        opened.append(BackendSubject(OnnxRuntimeBackend(model, OnnxRuntimeOptions(**OPTIONS))))
        return opened[-1]
    runner = SubjectRunner(open_subject)
    assert runner.name.startswith('resnet-trt-runner-N')
    for _ in range(2):
        with runner:
            runner.infer({'images': frames[:1]})
    assert len(opened) == 2
    for one in opened:
        with pytest.raises(UsageError, match='closed'):
            one.infer(frames[:1])


def test_outputs_of_two_inferences_do_not_share_memory(subject, frames):
    with SubjectRunner(subject) as runner:
        first = runner.infer({'images': frames[:1]})['probabilities']
        before = first.copy()
        runner.infer({'images': frames[5:6]})
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize('name', ['onnxruntime', 'polygraphy:onnxrt'])
def test_a_frame_without_an_answer_is_named(tmp_path, frames, name):
    blind = write_blind_model(tmp_path / 'blind.onnx')
    with open_subject(name, blind, OPTIONS) as subject:
        bad = np.full_like(frames[:2], 255)
        bad[0] = 0
        with pytest.raises(
                InferenceError, match=r'^frame 1 of a batch of 2: the model returned NaN'):
            subject.infer(bad)
        assert np.isfinite(subject.infer(bad[:1]).probabilities).all()


def test_polygraphys_own_runner_gives_the_same(model, subject, frames):
    with open_subject('polygraphy:onnxrt', model, OPTIONS) as theirs:
        assert isinstance(theirs, PolygraphySubject)
        assert (theirs.info.name, theirs.info.device) == ('polygraphy:onnxrt', 'CPU')
        results = Comparator.run(
            [SubjectRunner(subject, 'ours'), runner_for(theirs, 'theirs')],
            data_loader=[{'images': frames[:4]}, {'images': frames[4:6]}])
        for ours, other in zip(results['ours'], results['theirs']):
            np.testing.assert_allclose(
                ours['probabilities'], other['probabilities'], atol=1e-6)
        # The Comparator deactivated it; it is activated again where it is timed.
        theirs.load(frames[:2])
        assert len(theirs.time(1, 3)) == 3
        assert theirs.answer().probabilities.shape == (2, 8)
        runner = runner_for(theirs, 'again')
        assert (runner.name, runner.is_active) == ('again', False)


def test_polygraphys_runner_refuses_what_does_not_fit(model, frames):
    with open_subject('polygraphy:onnxrt', model, OPTIONS) as theirs:
        with pytest.raises(UsageError, match='load first'):
            theirs.time(0, 1)
        with pytest.raises(UsageError, match='up to'):
            theirs.load(frames[:5])
        with pytest.raises(UsageError, match='up to'):
            theirs.load(frames[:1, :16])


def test_tensorrt_is_said_to_be_missing(model, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(BackendUnavailable, match='tensorrt cannot be imported'):
        open_subject('polygraphy:trt', model, {'max_batch_size': 1})


def test_polygraphy_is_said_to_be_missing(monkeypatch):
    import resnet_trt_node.compare as package
    monkeypatch.delitem(sys.modules, 'resnet_trt_node.compare.runners')
    monkeypatch.delattr(package, 'runners')
    monkeypatch.setitem(sys.modules, 'polygraphy.backend.base', None)
    with pytest.raises(BackendUnavailable, match='pip install polygraphy'):
        import_runners()
