"""The package as `colcon build` installs it, for processes that look it up."""

from __future__ import annotations

import os
from pathlib import Path
import sys

from repository import REPOSITORY


def install_package(root: Path) -> dict[str, str]:
    """
    Install the package's programs, launch files and configuration.

    :param root: a folder that is made.
    :returns: the environment variables by which a process finds the package there.
    """
    share = root / 'share/resnet_trt_node'
    files = {
        root / 'share/ament_index/resource_index/packages/resnet_trt_node': '',
        **{share / folder / file.name: file.read_text() for folder in ('config', 'launch')
           for file in (REPOSITORY / folder).iterdir() if file.is_file()}}
    for name, module in (('classifier_node', 'node.entry'), ('resnet_trt', 'cli.main')):
        files[root / 'lib/resnet_trt_node' / name] = (
            f'#!{sys.executable}\nimport sys\n'
            # A busy machine may need more than the node gives itself to end.
            'from resnet_trt_node.node import stop_signal\nstop_signal._LIMIT_SEC = 60.0\n'
            f'from resnet_trt_node.{module} import main\nsys.exit(main())\n')
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return {name: os.pathsep.join([str(value), *filter(None, [os.environ.get(name)])])
            for name, value in (('AMENT_PREFIX_PATH', root), ('PYTHONPATH', REPOSITORY))}
