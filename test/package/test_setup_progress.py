"""What the set-up of the environment shows while pip and make work."""

from __future__ import annotations

from io import StringIO
import os
from pathlib import Path
import pty
import sys

import pytest
import setup_progress
from setup_progress import Display, main, Progress


def read(*lines: str) -> Progress:
    """Return the progress after some lines of a command."""
    progress = Progress('installing')
    for line in lines:
        progress.read(line)
    return progress


@pytest.mark.parametrize(('lines', 'shown'), [
    ([], 'installing: ...'),
    (['Looking in indexes: https://host/simple', 'WARNING: [  5%]'], 'installing: ...'),
    (['Collecting onnx==1.23.2 (from -r runtime.txt (line 12))'], 'installing: 1 collected, onnx'),
    (['Collecting a', 'Collecting b-c>=2', '  Downloading b_c-2.0-py3-none-any.whl (7.1 MB)'],
     'installing: 2 collected, b-c (7.1 MB)'),
    (['Processing /wheels/numpy-2.4.6-cp311-cp311-linux_x86_64.whl (from -r runtime.txt)'],
     'installing: 1 collected, numpy'),
    (['Collecting a', 'Installing collected packages: a, b, c-d, e'],
     'installing: 0 of 4 packages [                        ]'),
    (['[ 50%] Building C object x.c.o'], 'installing: 50 % [############            ]'),
    (['[ 99%] Building', '[ 98%] Building'], 'installing: 99 % [####################### ]'),
    (['[100%] Built target x'], 'installing: 100 % [########################]'),
    (['[3/12] Building CXX object x'], 'installing: 3 of 12 steps [######                  ]')])
def test_lines_of_pip_make_and_ninja_are_understood(lines: list[str], shown: str) -> None:
    assert read(*lines).describe() == shown


def test_more_than_all_is_all() -> None:
    progress = read('Installing collected packages: a, b')
    progress.done = 7
    assert progress.describe().endswith('2 of 2 packages [########################]')


def test_without_a_terminal_a_phase_is_a_line() -> None:
    stream = StringIO()
    display, progress = Display(stream), Progress('installing')
    for line in ('', 'Collecting a', 'Collecting b', 'Installing collected packages: a, b', ''):
        progress.read(line)
        display.show(progress)
    display.end()
    assert stream.getvalue() == 'setup: installing\nsetup: installing: 2 to install\n'


def test_on_a_terminal_one_line_moves_and_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        setup_progress.os, 'get_terminal_size', lambda _: os.terminal_size((30, 24)))
    leader, follower = pty.openpty()
    with open(follower, 'w', encoding='utf-8') as stream:
        display, progress = Display(stream), Progress('compiling')
        for line in ('[ 50%] a', '[ 50%] b', '[100%] c'):
            progress.read(line)
            display.show(progress)
        display.end()
        shown = ''
        # A terminal may hand it over in pieces.
        while not shown.endswith('\n'):
            shown += os.read(leader, 4096).decode()
    os.close(leader)
    assert shown == (
        '\rsetup: compiling: 50 % [#####\x1b[K\rsetup: compiling: 100 % [####\x1b[K\r\n')


@pytest.mark.slow
def test_a_command_goes_to_its_log_and_failing_shows_the_end(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / 'pip.log'
    told = 'for line in range(100): print("line", line)'
    assert main(log, 'working', [sys.executable, '-c', told]) == 0
    assert capfd.readouterr().err == 'setup: working\n'
    assert main(log, 'working', [sys.executable, '-c', f'{told}\nraise SystemExit(3)']) == 3
    out, err = capfd.readouterr()
    assert not out
    assert err.splitlines() == ['setup: working', *(f'line {line}' for line in range(70, 100))]
    assert len(log.read_text().splitlines()) == 100


@pytest.mark.slow
def test_installed_packages_are_counted_meanwhile(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / 'lib' / 'python3.11' / 'site-packages'
    (site / 'old-1.dist-info').mkdir(parents=True)
    seen: list[str] = []
    go_on = tmp_path / 'go on'
    # It installs one of three, and the others once that was seen.
    script = (
        'import os, sys, time\n'
        'print("Installing collected packages: a, b, c", flush=True)\n'
        f'os.mkdir({str(site / "a-1.dist-info")!r})\n'
        f'while not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n')

    def note(_: Display, progress: Progress) -> None:
        seen.append(progress.describe())
        if '1 of 3' in seen[-1]:
            go_on.touch()
    monkeypatch.setattr(Display, 'show', note)
    assert main(tmp_path / 'pip.log', 'installing', [sys.executable, '-c', script]) == 0
    assert 'installing: 1 of 3 packages [########                ]' in seen


@pytest.mark.slow
def test_a_full_disk_stops_no_command_in_the_middle(
        tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = tmp_path / 'done'
    told = f'print("line\\n" * 100000); open({str(done)!r}, "w")'
    with pytest.raises(OSError, match='No space left'):
        main(Path('/dev/full'), 'working', [sys.executable, '-c', told])
    assert done.exists()
    assert capfd.readouterr().err == 'setup: working\n'
