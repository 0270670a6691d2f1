"""Numbers as plots show them."""

from __future__ import annotations

import random

import pytest
from resnet_trt_node.text.plot_text import log_ticks, three_digits


@pytest.mark.parametrize(('value', 'text'), [
    (0.33, '0.330'), (0.3304, '0.330'), (1, '1.00'), (9.999, '10.0'), (12.14, '12.1'),
    (226.3, '226'), (31202.0, '31,200'), (57247, '57,200'), (0.000123456, '0.000123'), (0, '0'),
    (-1.5, '-1.50'), (float('nan'), 'nan')])
def test_three_digits_without_an_exponent(value, text):
    assert three_digits(value) == text


@pytest.mark.parametrize(('low', 'high', 'texts'), [
    (0.2, 1.4, ['0.2', '0.5', '1']), (0.9, 12, ['1', '2', '5', '10']),
    (3.1, 3.9, ['3.2', '3.4', '3.6', '3.8']), (0.31, 0.36, ['0.32', '0.34', '0.36']),
    (1, 1.25, ['1.0', '1.1', '1.2']), (0.01, 1000, ['0.01', '0.1', '1', '10', '100', '1,000'])])
def test_ticks_of_a_logarithmic_axis(low, high, texts):
    assert log_ticks(low, high)[1] == texts


def test_any_axis_has_a_few_different_ticks_in_its_range():
    choose = random.Random(1)
    for _ in range(2000):
        low = 10 ** choose.uniform(-4, 4)
        high = low * (1 + 10 ** choose.uniform(-3, 4))
        ticks, texts = log_ticks(low, high)
        assert 3 <= len(ticks) <= 11, (low, high, texts)
        assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
        assert len(set(texts)) == len(texts)
        assert [float(text.replace(',', '')) for text in texts] == pytest.approx(ticks)
        assert not [text for text in texts if 'e' in text]
