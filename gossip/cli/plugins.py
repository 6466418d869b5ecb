"""Commands that other packages bring: the entry points of the group ``gossip.commands``."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click

ENTRY_POINTS: Final = "gossip.commands"


class ExtensibleGroup(click.Group):
    """A group that looks for commands among the entry points once it does not know one itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_found()})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        own = super().get_command(ctx, name)
        if own is not None:
            return own
        found = _found().get(name)
        return None if found is None else _load(found)


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _load(point: EntryPoint) -> click.Command:
    """The command, or one that tells why there is none: a broken package must not break the others."""
    try:
        loaded = point.load()
    except (Exception, SystemExit) as error:
        return _Broken(point, f"{type(error).__name__}: {error}")
    return loaded if isinstance(loaded, click.Command) else _Broken(point, f"{point.value} is no command")


class _Broken(click.Command):
    """Stands in for a command that cannot be loaded."""

    def __init__(self, point: EntryPoint, why: str) -> None:
        owner = point.dist.name if point.dist is not None else point.value
        self._why = f"{point.name} of {owner} cannot be loaded: {why}"
        super().__init__(
            point.name,
            help=f"(cannot be loaded: {why})",
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ARG002  # the shape of all commands
        raise click.ClickException(self._why)
