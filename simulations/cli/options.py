"""Which scenario, with what changed: the options that `run` and `sweep` share."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from ..errors import ScenarioError
from ..scenario.file import ScenarioFile, load_file, parse_value
from ..scenario.overrides import Override
from ..scenario.scenario import Scenario


class Share(click.FloatRange):
    """A number from 0 to 1."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no share from 0 to 1, such as 0.1", param, ctx)


class NoVerdict(click.ClickException):
    """Nothing can be run as asked: a mistake in a scenario, something that is not installed. Not a failed run."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """A scenario as somebody asked for it."""

    name: str
    """What `list` shows, or a path."""
    flags: tuple[str, ...] = ()
    """The options that change it, as given."""
    overrides: tuple[Override, ...] = ()

    def load(self) -> Scenario:
        """The scenario; raises `NoVerdict`."""
        return load(self.name, self.overrides).scenario

    def command(self, seed: int) -> str:
        """The line that runs one seed of it."""
        return shlex.join(["gossip", "sim", "run", self.name, "--seed", str(seed), *self.flags])


def load(name: str, overrides: tuple[Override, ...] = ()) -> ScenarioFile:
    """A scenario and what its file says of a failure; raises `NoVerdict`."""
    try:
        return load_file(name, overrides)
    except ScenarioError as error:
        raise NoVerdict(str(error)) from None


def takes_scenario(command: Callable[..., Any]) -> Callable[..., Any]:
    """SCENARIO and whatever changes it; read with `choice`."""
    for option in (
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Any other value: config.fanout=3."),
        click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds until all faults end."),
        click.option("--loss", type=Share(), help="Share of datagrams lost on every link."),
        click.option("--nodes", type=click.IntRange(min=1), help="Nodes at the start."),
        click.argument("scenario"),
    ):
        command = option(command)
    return command


def choice(
    scenario: str, nodes: int | None, loss: float | None, duration: float | None, sets: tuple[str, ...]
) -> Choice:
    """What was asked for; raises `click.UsageError`."""
    flags: list[str] = []
    overrides: list[Override] = []
    keys = {"nodes": ("nodes",), "loss": ("topology.near.loss", "topology.far.loss"), "duration": ("duration",)}
    for flag, value in (("nodes", nodes), ("loss", loss), ("duration", duration)):
        if value is not None:
            flags += [f"--{flag}", _number(value)]
            overrides += [Override(key, value, f"--{flag} {_number(value)}") for key in keys[flag]]
    for text in sets:
        key, equals, given = text.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes KEY=VALUE, such as config.fanout=3, not {text!r}")
        flags += ["--set", text]
        overrides.append(Override(key.strip(), parse_value(given.strip()), f"--set {text}"))
    return Choice(scenario, tuple(flags), tuple(overrides))


def _number(value: float) -> str:
    """As a person would type it, and nothing lost."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
