# PYTHON_ARGCOMPLETE_OK
"""Entry point of `resnet_trt`: runs a command, turns errors into one line and an exit code."""

from __future__ import annotations

from argparse import Namespace
import errno
from importlib import import_module
from io import TextIOWrapper
import os
import sys
from typing import Optional, Sequence, TextIO

from resnet_trt_node import __version__
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.interrupt import interrupts_reach_runtimes
from resnet_trt_node.text.fitting import fit_terminal
from resnet_trt_node.text.printable import printable

#: Folder to its commands, and these to their one-line help, in the order of the help.
#: `resnet_trt_node.cli.arguments.<folder>.<command>` has `EXAMPLES` and `add_arguments(parser)`,
#: and imports no runtime: help and completion need it too. In the folder of the same name in
#: `resnet_trt_node.cli`, `<command>` has `run(arguments) -> exit code`, and is imported to run it,
#: so that a command needs only its own dependencies. A hyphen is an underscore in both names.
FOLDERS = {
    'models': {
        'fetch': 'download a ready model from an index, or list the index',
        'train': 'train or fine-tune a ResNet on your own classes',
        'export': 'export a ResNet as a deployable ONNX model',
        'prepare': 'make any float ONNX image classifier deployable',
        'quantize': 'quantise a model to int8, calibrated on pictures or a bag',
        'prune': 'prune a network to 2:4 structured sparsity, and fine-tune it',
        'check': 'check whether a model is deployable, and show how to make it so',
        'build': 'build an engine for this GPU ahead of time, so that the node starts quickly',
        'inspect': 'show shapes, precision, labels and cost of a model',
    },
    'classification': {
        'classify': 'classify pictures, folders, zip files or bags',
        'fleet': 'classify thousands of bags on one machine or a cluster, with Ray',
        'fleet-report': 'show what a fleet run found, and how it differs from another, as HTML',
        'fleet-pick': 'write frames of a fleet run for labelling: unsure, disputed or of a class',
    },
    'evaluation': {
        'evaluate': 'measure accuracy on labelled pictures, and the agreement of two models',
        'calibrate': 'calibrate scores by temperature scaling',
        'compare': 'compare outputs and latency of backends and models',
    },
    'robot': {
        'replay': 'publish the images in a bag as ROS messages',
        'doctor': 'show what this machine can run, and how to fix the rest',
        'top': 'monitor running nodes: rates, drops, latencies',
    },
}
COMMANDS = {name: text for commands in FOLDERS.values() for name, text in commands.items()}
#: Of `resnet_trt --help`.
EXAMPLES = (
    ('resnet_trt export -o models/resnet50.onnx', 'make a model; needs PyTorch'),
    ('resnet_trt classify models/resnet50.onnx photos/', 'classify pictures with it'),
    ('resnet_trt classify --help', "a command's options, and more examples"),
)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """
    Run one command.

    :param arguments: the command line without the program's name, None for the process's own.
    :returns: 0 after success, 2 for an error that the user can correct, 130 after Ctrl-C.
    """
    _prepare_streams()
    words = _joined(list(sys.argv[1:] if arguments is None else arguments))
    asked = next((word for word in words if word in COMMANDS), None)
    try:
        return _run(words, asked)
    except ImportError as error:
        _print_error(f'resnet_trt {asked}: {_import_failure(error)}')
        return 2
    except ResnetTrtError as error:
        _print_error(f'resnet_trt {asked}: {error}')
        return error.exit_code
    except BrokenPipeError:
        # The reader, such as `head`, has ended.
        sys.stderr.close()
        sys.stdout = _nowhere()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Python would try once more to write what is left of it.
        sys.stdout = _nowhere()
        _print_error(f'resnet_trt {asked}: {error.strerror}, the output is not whole: make room')
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _run(words: Sequence[str], asked: Optional[str]) -> int:
    if '_ARGCOMPLETE' in os.environ:
        from resnet_trt_node.cli.support.completion import complete
        complete(COMMANDS, parser_for)
    parser = parser_for(asked)
    if not words:
        parser.print_help(sys.stderr)
        return 2
    parsed = parser.parse_args(words, Namespace(words=words))
    with interrupts_reach_runtimes():
        code = int(import_module(f'resnet_trt_node.cli.{_module(parsed.command)}').run(parsed))
    # What cannot be written is told here, not by the interpreter when it ends.
    sys.stdout.flush()
    return code


def _joined(words: list[str]) -> list[str]:
    """Return words whose first two, such as `fleet report`, are one command, `fleet-report`."""
    name = '-'.join(words[:2])
    return [name, *words[2:]] if len(words) > 1 and name in COMMANDS else words


def _module(command: str) -> str:
    folder = next(name for name, commands in FOLDERS.items() if command in commands)
    return f'{folder}.{command.replace("-", "_")}'


def _nowhere() -> TextIO:
    # Stays open for the rest of the process.
    return open(os.devnull, 'w')


def _prepare_streams() -> None:
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if stream is None:
            # Closed by who started it, such as a service: nobody reads it.
            setattr(sys, name, _nowhere())
        elif isinstance(stream, TextIOWrapper):
            # File names need not be valid Unicode, and the streams may be ASCII.
            stream.reconfigure(errors='backslashreplace')


def _import_failure(error: ImportError) -> str:
    if error.name == 'torch' and isinstance(error, ModuleNotFoundError):
        # No robot needs it, so that `doctor` does not look for it.
        return 'this command needs PyTorch, which is not installed: pip install torch'
    if error.name == 'pyarrow' and isinstance(error, ModuleNotFoundError):
        return 'this command needs PyArrow, which is not installed: pip install pyarrow'
    # Such as the system's OpenCV, built for NumPy 1, beside NumPy 2.
    return (f'a package is missing or incompatible ({printable(error)}): '
            '`resnet_trt doctor` says what to install')


def _print_error(line: str) -> None:
    print(fit_terminal(line, sys.stderr), file=sys.stderr)


def parser_for(asked: Optional[str]) -> CommandParser:
    """
    Return the parser of all commands, with the arguments of one of them.

    :param asked: that command; None for none of them.
    """
    parser = CommandParser(
        prog='resnet_trt',
        description='Offline tools for image classification with TensorRT and ONNX Runtime.')
    parser.examples = EXAMPLES
    parser.add_argument_group('help').add_argument(
        '--version', action='version', version=f'resnet_trt {__version__}',
        help='show the version and exit')
    commands = parser.add_subparsers(
        dest='command', metavar='COMMAND', required=True, title='commands',
        help='`resnet_trt COMMAND --help` shows options and examples')
    for name, text in COMMANDS.items():
        command = parser.commands[name] = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + '.')
        if name == asked:
            module = import_module(f'resnet_trt_node.cli.arguments.{_module(name)}')
            command.examples = module.EXAMPLES
            module.add_arguments(command)
    return parser


if __name__ == '__main__':
    sys.exit(main())
