"""Entry point of `resnet_trt`: runs a command, turns errors into one line and an exit code."""

from __future__ import annotations

from argparse import Action, ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from importlib import import_module
from io import TextIOWrapper
import sys
from typing import NoReturn, Optional, Sequence

from resnet_trt_node import __version__
from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.interrupt import interrupts_reach_runtimes
from resnet_trt_node.printable import printable, printable_lines

#: Command to its one-line help. The module of a command is `resnet_trt_node.cli.<command>` with
#: `add_arguments(parser)` and `run(arguments) -> exit code`. It is imported only if it is called,
#: so that a command needs only its own dependencies.
COMMANDS = {
    'fetch': 'get a ready model from an index, or list what it has',
    'train': 'train or fine-tune a ResNet on your own classes',
    'export': 'write a ResNet as a deployable ONNX model',
    'prepare': 'make any float image classifier in ONNX deployable',
    'quantize': 'make a model int8, calibrated on pictures or a bag',
    'prune': 'make a network 2:4 sparse, which engines run with half of the multiplications',
    'check': 'tell which clauses of the contract a model keeps, and how to mend the others',
    'build': 'compile a model for this GPU ahead of time, so that the node starts at once',
    'inspect': 'show what a model is: shapes, precision, labels, cost',
    'classify': 'classify pictures, folders, zip files or bags',
    'evaluate': 'measure accuracy on labelled pictures, and how far two models agree',
    'calibrate': 'fit a temperature, so that scores say how often the model is right',
    'compare': 'compare accuracy and latency of backends and models',
    'replay': 'publish the images of a bag through ROS',
    'doctor': 'show what this machine can run, and what to install for the rest',
    'top': 'watch running nodes: rates, drops, latencies',
}


class _HelpFormatter(ArgumentDefaultsHelpFormatter):
    """Adds defaults to the help, other than those that mean that an option was not given."""

    def _get_help_string(self, action: Action) -> Optional[str]:
        # A switch such as train's --no-flip has the default True. The type is checked, since the
        # numbers 0 and 1 equal False and True.
        if action.default in (None, '') or isinstance(action.default, (bool, list, tuple)):
            return action.help
        return super()._get_help_string(action)


class _Parser(ArgumentParser):
    """Escapes control characters in errors: a shell's * expands to names of any files."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        super().error(printable_lines(message))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """
    Run one command.

    :param arguments: the command line without the program's name, None for the process's own.
    :returns: 0 after success, 2 for an error that the user can correct, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        # File names need not be valid Unicode, and the streams may be ASCII.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    words = list(sys.argv[1:] if arguments is None else arguments)
    asked = next((word for word in words if word in COMMANDS), None)
    try:
        parsed = _parser_for(asked).parse_args(words, Namespace(words=words))
        with interrupts_reach_runtimes():
            return int(parsed.run(parsed))
    except ImportError as error:
        # Such as the system's OpenCV, built for NumPy 1, beside NumPy 2.
        print(f'resnet_trt {asked}: a package is missing or incompatible ({printable(error)}): '
              '`resnet_trt doctor` says what to install', file=sys.stderr)
        return 2
    except ResnetTrtError as error:
        print(f'resnet_trt {asked}: {error}', file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader, such as `head`, has ended.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _parser_for(asked: Optional[str]) -> _Parser:
    """Return the parser of all commands, with the arguments of the one that is called."""
    parser = _Parser(
        prog='resnet_trt', description='Image classification on TensorRT: the offline tools.')
    parser.add_argument('--version', action='version', version=f'resnet_trt {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(
            name, help=help_text, description=help_text[0].upper() + help_text[1:] + '.',
            formatter_class=_HelpFormatter)
        if name == asked:
            module = import_module(f'resnet_trt_node.cli.{name}')
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


if __name__ == '__main__':
    sys.exit(main())
