"""The command `resnet_trt top`: watch running classifier nodes."""

from __future__ import annotations

import argparse
import signal
from time import monotonic
from typing import Any

from resnet_trt_node.cli.console import print_json
from resnet_trt_node.errors import UsageError
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_STYLES = {'OK': 'green', 'WARN': 'yellow', 'ERROR': 'bold red'}
#: Stages in the order in which a frame passes them, with the words of the view.
_STAGES = {
    'queue': 'wait for the fitter', 'fit': 'decode and resize', 'batch': 'wait for the backend',
    'infer': 'infer', 'publish': 'publish', 'total': 'receive to publish',
    'added': 'the same less infer', 'source_to_publish': 'stamp to publish'}
_DROPS = ('superseded', 'stale', 'malformed', 'failed', 'refused')
#: A node that is not heard for so long is shown as gone.
_GONE_SEC = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        '--node', metavar='NAME', help='watch this node only, such as /front/classifier')
    parser.add_argument('--once', action='store_true', help='show what is told next and end')
    parser.add_argument(
        '--json', action='store_true', help='print what is told next as JSON and end')
    parser.add_argument(
        '--wait', type=float, default=5.0, metavar='SECONDS',
        help='how long to wait for the first diagnostics')


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns 0, also when Ctrl-C ended it."""
    if not 0 < arguments.wait < float('inf'):
        raise UsageError(f'--wait is {arguments.wait}: give seconds, more than 0')
    listener_class = _import_listener()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        with listener_class(arguments.node) as listener:
            listener.wait(arguments.wait)
            if arguments.json:
                print_json({name: report.as_json()
                            for name, (report, _) in listener.heard.items()})
            elif arguments.once or not console.is_terminal:
                console.print(view(listener.heard))
            else:
                _watch(listener, console)
    except KeyboardInterrupt:
        # How one leaves it.
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _watch(listener: Any, console: Console) -> None:
    with Live(view(listener.heard), console=console, screen=True, auto_refresh=False) as live:
        while True:
            listener.spin(0.25)
            live.update(view(listener.heard), refresh=True)


def view(heard: dict[str, tuple[Any, float]]) -> Group:
    """
    Return the reports as something that rich shows.

    :param heard: node to its last `Report` and monotonic() when it came.
    """
    parts = []
    for name, (report, at_sec) in sorted(heard.items()):
        quiet_sec = monotonic() - at_sec
        gone = f'  not heard for {quiet_sec:.0f} s' if quiet_sec > _GONE_SEC else ''
        title = Text(f'{name}{gone}', style='red' if gone else '')
        parts.append(Panel(_node(report), title=title, title_align='left'))
    return Group(*parts)


def _node(report: Any) -> Group:
    values = report.values
    worst = max([report.level, *(camera.level for camera in report.cameras.values())])
    # The node may be well while a camera is not.
    message = report.message if report.level == worst else f'{report.message}, but a camera is not'
    head = Text(f'{worst.name}  {message}', style=_STYLES[worst.name])
    if 'backend' not in values:
        return Group(head)
    what = Text(
        f'{values["model"] or "model"} {values["precision"]} on {values["backend"]}, '
        f'{values["device"]}; {values["state"]}, batches up to {values["max_batch_size"]}')
    batches = Text(
        f'batches of {values["mean_batch_size"]} frames (size:number '
        f'{values["batch_sizes"] or "-"}), {values["retried_batches"]} retried, '
        f'{values["failed_batches"]} lost, backend reopened {values["reopened_backends"]} times')
    parts: list[Any] = [head, what, batches, _cameras(report)]
    parts += [
        Text(f'{camera.level.name}  {camera.values["image_topic"]}: {camera.message}',
             style=_STYLES[camera.level.name])
        for camera in report.cameras.values() if camera.level.name != 'OK']
    if 'total_p50_ms' in values:
        parts.append(_latencies(values))
    return Group(*parts)


def _cameras(report: Any) -> Table:
    table = Table(box=None, padding=(0, 1))
    for column in ('camera', 'in Hz', 'out Hz', 'received', 'answered', 'no answer'):
        table.add_column(column, justify='left' if column in ('camera', 'no answer') else 'right')
    for name, camera in report.cameras.items():
        values = camera.values
        drops = [f'{values[f"dropped_{reason}"]} {reason}' for reason in _DROPS
                 if values[f'dropped_{reason}']]
        drops += [f'{values["in_progress"]} in progress'] * bool(values['in_progress'])
        drops += [f'({values["lost_in_transport"]} lost before)'] * bool(
            values['lost_in_transport'])
        table.add_row(
            name or str(values['image_topic']), *(str(values[key]) for key in (
                'received_hz', 'answered_hz', 'received', 'answered')), ', '.join(drops))
    return table


def _latencies(values: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1))
    table.add_column('ms')
    for share in ('p50', 'p95', 'p99'):
        table.add_column(share, justify='right')
    for stage, words in _STAGES.items():
        if f'{stage}_p50_ms' in values:
            table.add_row(words, *(
                f'{float(values[f"{stage}_p{share}_ms"]):.2f}' for share in (50, 95, 99)))
    return table


def _import_listener() -> Any:
    try:
        from resnet_trt_node.node.watch import DiagnosticsListener
    except ImportError as error:
        # An error of this package's own is a bug and keeps its traceback.
        if (error.name or '').startswith('resnet_trt_node'):
            raise
        raise UsageError(
            f'top needs ROS 2, and it cannot be imported ({error}): source '
            '/opt/ros/<distro>/setup.bash, or run `make venv` and use its environment') from error
    return DiagnosticsListener
