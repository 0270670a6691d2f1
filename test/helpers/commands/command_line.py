"""Running `resnet_trt` inside the test's process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from documentation.json_schemas import checked
import pytest

from resnet_trt_node.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """
    What a command did.

    :param code: its exit code.
    :param out: what it printed on the output.
    :param err: what it printed on the error stream.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return the output as JSON that follows the schema of its command."""
        return checked(self.out)


class Command:
    """Runs commands; a fixture."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Outcome:
        """Run a command line and return what it did."""
        self._capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    def refused(self, *words: object) -> str:
        """Run a command line that must be refused with one line; return the line."""
        outcome = self(*words)
        assert (outcome.code, outcome.out) == (2, ''), outcome
        lines = outcome.err.splitlines()
        assert len(lines) == 1, outcome.err
        assert lines[0].startswith(f'resnet_trt {words[0]}: ')
        return lines[0]
