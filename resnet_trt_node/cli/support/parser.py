"""The parser of the commands: groups in one order, examples, and errors that say what to write."""

from __future__ import annotations

from argparse import (
    Action, ArgumentDefaultsHelpFormatter, ArgumentError, ArgumentParser, Namespace)
import re
import sys
import textwrap
from typing import Any, NoReturn, Optional, Sequence

from resnet_trt_node.text.fitting import fit_terminal
from resnet_trt_node.text.printable import LINE_LIMIT, printable
from resnet_trt_node.text.spelling import instead, RENAMED_OPTIONS

#: Command lines with what they do, as a command's `EXAMPLES`.
Examples = Sequence[tuple[str, str]]

#: The groups of options in the order of every help; one without options is not shown.
GROUPS = (
    'commands', 'input', 'model', 'network', 'normalisation and resizing', 'quantisation',
    'results', 'regions', 'cropping', 'comparison', 'tolerance', 'training', 'fine-tuning',
    'latency measurement', 'playback', 'inference', 'hardware', 'engine', 'output', 'help')
#: What only programs of ROS take, with what `resnet_trt` has for it.
_ROS = 'this is for ROS nodes, such as classifier_node; `resnet_trt` accepts no ROS arguments'
_ROS_OPTIONS = ('--ros-args', '--params-file', '--remap', '--param', '-p', '-r')
_NUMBER = re.compile(r'-[\d.]')
#: How argparse says that a value is of another type, and what to call the type.
_NO_NUMBER = re.compile(r'invalid (int|float) value: (.*)', re.DOTALL)
_NUMBERS = {'int': 'a whole number', 'float': 'a number'}
#: How the one message of argparse begins that does not say what to write.
_LACKING = 'the following arguments are required'
_COMMAND_WIDTH = 16
#: What usage and examples are made for.
_WIDTH = 78


class _HelpFormatter(ArgumentDefaultsHelpFormatter):
    """Adds defaults to the help, other than those that mean that an option was not given."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # argparse forgets to count the indentation of commands.
        self._action_max_length = _COMMAND_WIDTH

    def _get_help_string(self, action: Action) -> Optional[str]:
        # A switch such as train's --no-flip has the default True. The type is checked, since the
        # numbers 0 and 1 equal False and True.
        if action.default in (None, '') or isinstance(action.default, (bool, list, tuple)):
            return action.help
        return super()._get_help_string(action)

    def shown(self, action: Action) -> tuple[str, str]:
        """Return how an argument is written, and what it means."""
        return self._format_action_invocation(action), self._expand_help(action)


class CommandParser(ArgumentParser):
    """
    Parser of `resnet_trt` or of one of its commands.

    Options are written in full: an abbreviation would mean another option as soon as there is one
    that begins so. Control characters in errors are escaped, since a shell's * expands to names of
    any files.

    :param options: those of `ArgumentParser`.
    """

    def __init__(self, **options: Any) -> None:
        #: Parsers of the commands by name.
        self.commands: dict[str, CommandParser] = {}
        #: Shown below the options.
        self.examples: Examples = ()
        #: Option that users expect and that there is not, to what there is instead.
        self.absent: dict[str, str] = {}
        #: What to write instead of one word too many.
        self.surplus = ''
        self._named: dict[Optional[str], Any] = {}
        super().__init__(
            **options, add_help=False, allow_abbrev=False, formatter_class=_HelpFormatter)
        for title in GROUPS:
            self.add_argument_group(title)
        self.add_argument_group('help').add_argument(
            '-h', '--help', action='help', help='show this help and exit')

    def groups(self) -> list[tuple[str, str, list[tuple[str, str]]]]:
        """Return title and description of each group, and its arguments with their meanings."""
        formatter = _HelpFormatter(self.prog)
        return [
            (str(title), group.description or '', list(map(formatter.shown, group._group_actions)))
            for title, group in self._named.items() if group._group_actions]

    @property
    def actions(self) -> list[Action]:
        """Return the arguments and options."""
        return list(self._actions)

    def add_argument_group(  # type: ignore[override]  # Its types differ between Pythons.
            self, title: Optional[str] = None, description: Optional[str] = None) -> Any:
        """Return the group of a title, which is made where there is none yet."""
        if title not in self._named:
            self._named[title] = super().add_argument_group(title)
        group = self._named[title]
        group.description = description or group.description
        return group

    def parse_known_args(  # type: ignore[override]  # It has overloads.
            self, args: Optional[Sequence[str]] = None,
            namespace: Optional[Namespace] = None) -> tuple[Namespace, list[str]]:
        """Parse; unknown options are an error before any that is missing."""
        words = list(sys.argv[1:] if args is None else args)
        self._refuse_unknown(words)
        parsed, left = super().parse_known_args(words, namespace)
        if left:
            self._fail(
                f'{printable(left[0])} is one argument too many'
                + f': {self.surplus}' * bool(self.surplus))
        return parsed, left

    def format_help(self) -> str:
        """Return the help: a short usage, and the examples at its end."""
        self.usage = textwrap.fill(' '.join([
            self.prog, *filter(None, map(_in_usage, self._actions)), '[OPTION ...]']),
            _WIDTH, initial_indent='usage: ', subsequent_indent=' ' * 9).removeprefix('usage: ')
        lines = [super().format_help()]
        if self.examples:
            lines.append('\nexamples:\n')
        for command, effect in self.examples:
            lines.append(f'  {command}\n      {effect}\n')
        return ''.join(lines)

    def error(self, message: str) -> NoReturn:
        """Print what argparse refuses, on one line, and exit with 2."""
        message = _NO_NUMBER.sub(lambda found: f'{found[2]} is not {_NUMBERS[found[1]]}', message)
        hint = f'; `{self.prog} --help` has examples' if message.startswith(_LACKING) else ''
        self._fail(f'{message.removeprefix("argument ")}{hint}')

    def _fail(self, message: str) -> NoReturn:
        line = f'{self.prog}: {printable(message, LINE_LIMIT)}'
        self.exit(2, f'{fit_terminal(line, sys.stderr)}\n')

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        known = self._option_string_actions
        for word in words:
            name = word.partition('=')[0]
            if word == '--' or (self.commands and not word.startswith('-')):
                # What follows is no option, or is for the command.
                return
            if not word.startswith('-') or word == '-' or ' ' in name or _NUMBER.match(word):
                continue
            if not word.startswith('--') and f'-{name}' in known:
                # argparse would read -output as -o with the value utput.
                self._fail(f'unknown option {printable(name)}: write -{name}')
            if name not in known and (word.startswith('--') or word[:2] not in known):
                self._fail(f'unknown option {printable(name)}: {self._instead_of(name)}')

    def _instead_of(self, name: str) -> str:
        if name in self.absent:
            return self.absent[name]
        if name in _ROS_OPTIONS:
            return _ROS
        for action in self._actions:
            if not action.option_strings and name == f'--{action.dest}':
                return f'write {action.metavar} without an option'
        known = [option for option in self._option_string_actions if option.startswith('--')]
        return instead(name, known, RENAMED_OPTIONS) or f'`{self.prog} --help` lists the options'

    def _check_value(self, action: Action, value: Any) -> None:
        """Refuse a value that is none of the choices, with the nearest one."""
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        is_command = not action.option_strings and action.dest == 'command'
        hint = instead(str(value), [*choices, '--help', '--version'] if is_command else choices)
        if hint is None or not is_command:
            hint = f'{f"{hint} Choose" if hint else "choose"} one of {", ".join(choices)}'
        shown = printable(repr(value))
        # argparse prints the option before the message.
        raise ArgumentError(None if is_command else action, (
            f'unknown command {shown}: {hint}' if is_command else f'{shown} is unknown: {hint}'))


def _in_usage(action: Action) -> str:
    """Return how an argument that must be given stands in the usage."""
    if not action.required:
        return ''
    words = [*action.option_strings[:1], str(action.metavar)]
    return ' '.join(words + ['...'] * (action.nargs == '+'))
