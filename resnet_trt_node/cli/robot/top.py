"""`resnet_trt top`: shows the statistics of running classifier nodes."""

from __future__ import annotations

import argparse
from contextlib import suppress
from time import monotonic
from typing import Any

from resnet_trt_node.cli.support.console import print_json
from resnet_trt_node.cli.support.ros_command import import_ros, sigterm_interrupts
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.pipeline.counters import DETECTIONS_EVENTS, DROP_REASONS
from resnet_trt_node.text.fitting import cell_width, shortened
from resnet_trt_node.text.printable import printable
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_STYLES = {'OK': 'green', 'WARN': 'yellow', 'ERROR': 'bold red'}
#: Stages in the order in which a frame passes them, and their names in the view.
_STAGES = {
    'receive': 'wait for the executor', 'queue': 'wait for preprocessing',
    'preprocess': 'decode and resize', 'batch': 'wait for the backend',
    'infer': 'infer', 'publish': 'publish', 'total': 'receive to publish',
    'added': 'the same less infer', 'source_to_publish': 'stamp to publish'}
#: Counters of regions besides those received and answered, and their names in the view.
_REGIONS = {
    'cached': 'cached', 'not_selected': 'of other classes', 'empty': 'empty',
    'not_finite': 'not finite', 'outside': 'outside', 'too_small': 'too small',
    'too_large': 'too large', 'too_many': 'too many', 'failed': 'failed',
    'dropped': 'dropped with their frames', 'in_progress': 'in progress'}
#: Limits of the view; --json has everything.
_MOST_NODES, _MOST_CAMERAS, _MOST_FAULTS = 20, 100, 20
_WORD, _SENTENCE = 200, 500
#: Cells of the name of a camera, and of any word: what is longer would be broken.
_NAME, _LONGEST_WORD = 24, 60
#: A node that sends no diagnostics for this long is shown as gone.
_GONE_SEC = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns 0, also when Ctrl-C ended it."""
    if not 0 < arguments.wait < float('inf'):
        raise UsageError(f'--wait is {arguments.wait}: give seconds, more than 0')
    listening = import_ros('top', 'node.monitoring.listener')
    console = Console()
    # Ctrl-C is the way to end the live view.
    with suppress(KeyboardInterrupt), sigterm_interrupts(), \
            listening.DiagnosticsListener(arguments.node, arguments.enclave) as listener:
        listener.wait(arguments.wait)
        if arguments.json:
            print_json('top', {'nodes': {
                name: report.as_json() for name, (report, _) in listener.heard.items()}})
        elif arguments.once or not console.is_terminal:
            console.print(view(listener.heard))
        else:
            _watch(listener, console)
    return 0


def _watch(listener: Any, console: Console) -> None:
    with Live(view(listener.heard), console=console, screen=True, auto_refresh=False) as live:
        while True:
            listener.spin(0.25)
            live.update(view(listener.heard), refresh=True)


def view(heard: dict[str, tuple[Any, float]]) -> Group:
    """
    Return the view of the reports.

    :param heard: node to its last `Report` and monotonic() at its arrival.
    """
    parts: list[Any] = []
    for name, (report, at_sec) in sorted(heard.items())[:_MOST_NODES]:
        quiet_sec = monotonic() - at_sec
        gone = f'  no diagnostics for {quiet_sec:.0f} s' if quiet_sec > _GONE_SEC else ''
        title = Text(f'{_unbroken(printable(name))}{gone}', style='red' if gone else '')
        parts.append(Panel(_node(report), title=title, title_align='left'))
    parts += _left_out(len(heard) - _MOST_NODES, 'nodes')
    return Group(*parts)


def _node(report: Any) -> Group:
    values = _Values(report.values)
    worst = max([report.level, *(camera.level for camera in report.cameras.values())])
    # The node itself may be OK while a camera is not.
    message = report.message if report.level == worst \
        else f'{report.message}, but a camera has a problem'
    head = Text(f'{worst.name}  {_sentence(message)}', style=_STYLES[worst.name])
    if 'backend' not in report.values:
        return Group(head)
    what = Text(
        f'{values["model"] or "model"} {values["precision"]} on {values["backend"]}, '
        f'{values["device"]}; {values["state"]}, batches up to {values["max_batch_size"]}')
    batches = Text(
        f'batches of {values["mean_batch_size"]} (size:number '
        f'{values["batch_sizes"] or "-"}), {values["retried_batches"]} retried, '
        f'{values["failed_batches"]} failed, backend reopened {values["reopened_backends"]} times')
    parts: list[Any] = [head, what, batches, *_regions(report.values), _cameras(report)]
    faulty = [camera for camera in report.cameras.values() if camera.level.name != 'OK']
    parts += [
        Text(f'{camera.level.name}  {_Values(camera.values)["image_topic"]}: '
             f'{_sentence(camera.message)}', style=_STYLES[camera.level.name])
        for camera in faulty[:_MOST_FAULTS]]
    parts += _left_out(len(faulty) - _MOST_FAULTS, 'cameras that are not well')
    if 'total_p50_ms' in report.values:
        parts.append(_latencies(report.values))
    return Group(*parts)


def _regions(values: dict[str, Any]) -> list[Text]:
    """Return the line about regions; none where whole frames are classified."""
    if 'regions_received' not in values:
        return []
    shown = _Values(values)
    rest = [f'{shown[f"regions_{key}"]} {words}' for key, words in _REGIONS.items()
            if values.get(f'regions_{key}')]
    return [Text(', '.join([
        f'regions: {shown["regions_per_frame"]} a frame, {shown["regions_received"]} received, '
        f'{shown["regions_answered"]} answered', *rest]))]


def _cameras(report: Any) -> Group:
    table = Table(box=None, padding=(0, 1))
    for column in ('camera', 'in Hz', 'out Hz', 'received', 'answered', 'no answer'):
        table.add_column(
            column, justify='left' if column in ('camera', 'no answer') else 'right',
            no_wrap=column != 'no answer')
    for name, camera in list(report.cameras.items())[:_MOST_CAMERAS]:
        values = _Values(camera.values)
        drops = [f'{values[f"dropped_{reason}"]} {reason}' for reason in DROP_REASONS
                 if camera.values.get(f'dropped_{reason}')]
        drops += [f'{values["in_progress"]} in progress'] * bool(camera.values.get('in_progress'))
        drops += [f'({values["lost_in_transport"]} lost before)'] * bool(
            camera.values.get('lost_in_transport'))
        drops += [f'({values[event]} {event})' for event in DETECTIONS_EVENTS
                  if camera.values.get(event)]
        camera_name = shortened(
            printable(name, _WORD) or values['image_topic'], _NAME, cell_width)
        cells = [camera_name, *(values[key] for key in (
            'received_hz', 'answered_hz', 'received', 'answered')), ', '.join(drops)]
        # rich would interpret markup in a string; names may look like markup.
        table.add_row(*map(Text, cells))
    return Group(table, *_left_out(len(report.cameras) - _MOST_CAMERAS, 'cameras'))


class _Values:
    """
    The printable values of a report, and '?' for those that are missing.

    :param values: may come from another program, so they may be of any type.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> str:
        return _unbroken(printable(self._values.get(key, '?'), _WORD))

    def milliseconds(self, key: str) -> str:
        """Return a number with two decimals, anything else unchanged."""
        try:
            return f'{float(self._values[key]):.2f}'
        except (KeyError, TypeError, ValueError, OverflowError):
            return self[key]


def _sentence(text: str) -> str:
    return _unbroken(printable(text, _SENTENCE))


def _unbroken(text: str) -> str:
    """Return a text whose words all fit a line."""
    return ' '.join(shortened(word, _LONGEST_WORD, cell_width) for word in text.split(' '))


def _left_out(number: int, what: str) -> list[Text]:
    return [Text(f'and {number} more {what}, see --json')] if number > 0 else []


def _latencies(values: dict[str, Any]) -> Table:
    shown = _Values(values)
    table = Table(box=None, padding=(0, 1))
    table.add_column('ms')
    for share in ('p50', 'p95', 'p99'):
        table.add_column(share, justify='right')
    for stage, words in _STAGES.items():
        if f'{stage}_p50_ms' in values:
            table.add_row(words, *(
                Text(shown.milliseconds(f'{stage}_p{share}_ms')) for share in (50, 95, 99)))
    return table
