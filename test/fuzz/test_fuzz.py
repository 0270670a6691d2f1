"""A short run of the fuzzer with fixed seeds; `make fuzz` runs as long as you like."""

from __future__ import annotations

import subprocess
import sys
import warnings

import fuzz
from hypothesis import strategies as st
import pytest
from targets import CORPUS, Target, TARGETS

pytestmark = pytest.mark.slow

NUMBER = 400


@pytest.mark.parametrize('name', TARGETS)
def test_no_input_does_harm(name):
    with warnings.catch_warnings():
        # Pillow warns of what is odd in a header.
        warnings.simplefilter('ignore')
        fuzz.run(TARGETS[name], NUMBER, first_seed=1)


def test_a_reader_that_fails_is_found():
    def check(value: bytes) -> None:
        if b'\xff' in value:
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        fuzz.run(Target(st.binary(max_size=9), check), NUMBER, first_seed=1)


def test_the_seeds_are_small():
    files = list(CORPUS.iterdir())
    assert len(files) > 12
    assert sum(file.stat().st_size for file in files) < 20_000


def test_the_command_prints_what_it_did():
    result = subprocess.run(
        [sys.executable, fuzz.__file__, '--target', 'labels', '--number', '50', '--seed', '3'],
        capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith('labels: 50 inputs, ')
    assert 'no finding' in result.stdout
