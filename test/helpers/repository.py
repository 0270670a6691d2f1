"""Where the repository lies, for tests in folders of any depth."""

from pathlib import Path

#: Root of the repository.
REPOSITORY = Path(__file__).resolve().parents[2]
#: What several tests share; on the import path of all.
HELPERS = Path(__file__).resolve().parent
