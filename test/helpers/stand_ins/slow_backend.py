"""The simulated backend with a model that opens slowly, or a device that hangs; led by files."""

from __future__ import annotations

from pathlib import Path
from time import sleep
from typing import Any

from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.errors import BackendUnavailable


class SlowBackend:
    """
    What the backend of a node in another process does.

    :param folder: an empty folder, for the two to agree: a call hangs while a file of its name is
        there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: For `NodeProcess`.
        self.prepare = (
            f'import sys\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n'
            f'from stand_ins.slow_backend import install\ninstall({str(folder)!r})')

    def hang_in(self, name: str, text: str = '') -> None:
        """
        Have it hang in `opening`, `_submit`, `_collect` or `_close` from now on.

        :param text: what is logged meanwhile, of an opening.
        """
        (self._folder / name).write_text(text)

    def hangs_in(self, name: str) -> bool:
        """Tell whether it has come there."""
        return (self._folder / f'{name} hangs').exists()

    def let_go(self, name: str) -> None:
        """Have it go on."""
        (self._folder / name).unlink()
        (self._folder / f'{name} hangs').unlink(missing_ok=True)

    def break_opening(self) -> None:
        """Have opening fail from now on."""
        (self._folder / 'broken').touch()


def install(folder: str) -> None:
    """Make the simulated backend of this process, the node's, do what a `SlowBackend` asks for."""
    def hang(name: str) -> None:
        while (Path(folder) / name).exists():
            (Path(folder) / f'{name} hangs').touch()
            sleep(0.01)

    open_at_once = SimulatedBackend.__init__

    def open_slowly(self: SimulatedBackend, path: str, options: SimulatedOptions) -> None:
        said = Path(folder) / 'opening'
        if said.exists():
            options.log(said.read_text())
        hang('opening')
        if (Path(folder) / 'broken').exists():
            raise BackendUnavailable('no device at all')
        open_at_once(self, path, options)

    def slow(name: str) -> Any:
        method = getattr(SimulatedBackend, name)

        def call(self: SimulatedBackend, *arguments: Any) -> Any:
            hang(name)
            return method(self, *arguments)
        return call

    SimulatedBackend.__init__ = open_slowly
    for name in ('_submit', '_collect', '_close'):
        setattr(SimulatedBackend, name, slow(name))
