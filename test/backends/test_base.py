"""What the base class does for every backend, seen on one that fails on demand."""

from time import perf_counter

import numpy as np
import pytest

from resnet_trt_node.backends.base import Backend, BackendInfo
from resnet_trt_node.backends.host_buffers import host_buffers
from resnet_trt_node.backends.options import BackendOptions
from resnet_trt_node.backends.simulated import SIMULATED_SPEC, SimulatedBackend, SimulatedOptions
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.errors import BackendError, InferenceError

SPEC = ModelSpec(
    height=4, width=4, labels=('a', 'b'), resize=ResizeRule(4, 4, 4), precision='fp32')


class Scripted(Backend):
    """Takes its behaviour from its attributes."""

    def __init__(self):
        self.result = np.array([[0.25, 0.75], [1, 0]], np.float32)
        self.failure = {}
        self.closings = 0
        super().__init__(
            SPEC, BackendInfo('scripted', '1', 'none', {}),
            host_buffers(SPEC, BackendOptions(max_batch_size=2)))

    def _step(self, name):
        if name in self.failure:
            raise self.failure.pop(name)

    def _submit(self, batch_size, index):
        self._step('submit')

    def _collect(self, batch_size, index):
        self._step('collect')
        return self.result[:batch_size]

    def _close(self):
        self.closings += 1
        self._step('close')


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('place', [(0, 0), (1, 1)])
def test_a_result_that_is_not_finite_is_refused_where_each_frame_needs_an_answer(value, place):
    backend = Scripted()
    backend.result[place] = value
    with pytest.raises(InferenceError, match=f'frame {place[0]} .*NaN'):
        backend.infer(2)
    # Who collects gets the others.
    backend.submit(2)
    assert np.isfinite(backend.collect()[1 - place[0]]).all()
    backend.result[:] = 0.5
    assert backend.infer(2).shape == (2, 2)


@pytest.mark.parametrize('result', [
    np.full((1, 2), 0.5, np.float32), np.full((2, 1), 1, np.float32),
    np.full((2, 2), 0.5), np.float32(1), None], ids=[
        'a row too few', 'a column too few', 'float64', 'a scalar', 'nothing'])
def test_a_result_of_another_shape_or_type_fails_and_the_buffer_is_free(result):
    backend = Scripted()
    good, backend._collect = backend._collect, lambda batch_size, index: result
    backend.submit(2)
    with pytest.raises(InferenceError, match=r'instead of float32 \(2, 2\)'):
        backend.collect()
    backend._collect = good
    assert backend.infer(2).tolist() == [[0.25, 0.75], [1, 0]]


@pytest.mark.parametrize('step', ['submit', 'collect'])
def test_after_a_failure_the_buffer_is_free(step):
    backend = Scripted()
    backend.failure[step] = InferenceError('the device is gone')
    with pytest.raises(InferenceError, match='the device is gone'):
        backend.infer(1)
    np.testing.assert_array_equal(backend.infer(2), [[0.25, 0.75], [1, 0]])


def test_closing_happens_once_even_if_it_fails():
    backend = Scripted()
    backend.failure['close'] = BackendError('the device is gone')
    with pytest.raises(BackendError, match='the device is gone'):
        backend.close()
    backend.close()
    assert backend.closings == 1


def test_too_little_memory_is_an_error_in_words(monkeypatch):
    def fail(*arguments):
        raise MemoryError
    monkeypatch.setattr(np, 'zeros', fail)
    with pytest.raises(BackendError, match=r'294 MiB .*max_batch_size'):
        host_buffers(SIMULATED_SPEC, BackendOptions(max_batch_size=1024, num_buffers=2))


def test_the_simulated_backend_takes_its_time():
    with SimulatedBackend('', SimulatedOptions(max_batch_size=4, simulated_ms=30)) as backend:
        start = perf_counter()
        backend.infer(4)
        assert perf_counter() - start >= 0.030


def test_the_simulated_backend_names_the_mean_red():
    with SimulatedBackend('', SimulatedOptions(max_batch_size=3, simulated_ms=0)) as backend:
        for slot, red in zip(backend.buffer(), (0, 137, 255)):
            slot[:] = (red, 9, 9)
        probabilities = backend.infer(3)
        assert [backend.spec.labels[index] for index in probabilities.argmax(axis=1)] == [
            'red_000', 'red_137', 'red_255']
        np.testing.assert_allclose(probabilities.max(axis=1), 0.5 + 0.5 / 256)
