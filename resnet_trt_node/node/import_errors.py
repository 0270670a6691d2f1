"""What to do where a package that the node needs cannot be imported."""

from __future__ import annotations

import re

from resnet_trt_node.text.printable import one_line, printable

_MESSAGES = re.compile(r'\w+_(msgs|srvs|interfaces)')


def import_failure(error: ImportError) -> str:
    """
    Return in one line what cannot be imported, and the remedy.

    :param error: of an import of another package; one of this package's own modules is a bug.
    """
    package, _, module = (error.name or '').partition('.')
    cause = printable(one_line(error))
    name = printable(package) or 'a package'
    if 'multiarray' in cause or 'NumPy 1' in cause:
        remedy = "it was built for NumPy 1: pip install 'numpy<2'"
    elif package.startswith('rclpy') and module:
        remedy = ("this ROS was built for another Python: use the system's, outside of conda and "
                  'virtual environments')
    elif package.startswith(('rclpy', 'ament')):
        remedy = ('source /opt/ros/<distro>/setup.bash, or run `make venv` and use its '
                  'environment')
    elif _MESSAGES.fullmatch(package):
        remedy = (f'sudo apt install ros-<distro>-{package.replace("_", "-")}, then source '
                  '/opt/ros/<distro>/setup.bash again')
    else:
        remedy = 'install it for the Python that runs this'
    return f'{name} cannot be imported ({cause}): {remedy}'
