"""Whether the backend works, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class BackendPhase(Enum):
    """What becomes of batches now; the values are what diagnostics report."""

    WORKING = 'working'
    REOPENING = 'opening again'
    #: For good: the pipeline takes no frames any more, `close` is all that is left.
    DISABLED = 'disabled'


@dataclass(frozen=True)
class BackendState:
    """
    The state of a backend.

    :param phase: what becomes of batches.
    :param reason: why the backend does not work; '' while it does.
    """

    phase: BackendPhase = BackendPhase.WORKING
    reason: str = ''

    @property
    def disabled(self) -> bool:
        """Tell whether the backend infers nothing any more."""
        return self.phase is BackendPhase.DISABLED
