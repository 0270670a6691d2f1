"""What was found out about one subject."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

#: It works; it works but could do better; it is not there; it is there and does not work; it is
#: not there or does not work, and nothing here needs it.
OK, ADVICE, MISSING, BROKEN, UNNEEDED = 'ok', 'advice', 'missing', 'broken', 'not needed'
STATES = (OK, ADVICE, MISSING, BROKEN, UNNEEDED)


@dataclass(frozen=True)
class Finding:
    """
    One subject.

    :param subject: its name.
    :param state: one of `STATES`.
    :param found: version, or what is wrong.
    :param purpose: what it is for.
    :param remedy: the command that mends it, '' where there is nothing to mend.
    """

    subject: str
    state: str
    found: str
    purpose: str
    remedy: str = ''

    @property
    def works(self) -> bool:
        """Tell whether what needs it can run."""
        return self.state in (OK, ADVICE)

    def to_dict(self) -> dict[str, str | None]:
        """Return it for JSON."""
        return {**asdict(self), 'remedy': self.remedy or None}

    def unless_needed(self, needed: bool) -> Finding:
        """Return it without a remedy if nothing here needs it and it does not work."""
        return self if needed or self.works else replace(self, state=UNNEEDED, remedy='')
