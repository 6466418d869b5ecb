"""Options that several verbs share."""

import json
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import click
import platformdirs

from gossip.protocol.errors import ConfigError
from gossip.protocol.profile import check_tags
from gossip.runtime.addresses import split_address


def default_data_dir() -> Path:
    """Where a node lives when nobody says otherwise."""
    return platformdirs.user_data_path("gossip-crdts") / "node"


class PathType(click.Path):
    """A path, which must not be empty: that would be the working directory, or a name that no file can have."""

    def __init__(self, what: str, *, file_okay: bool = True, dir_okay: bool = True, allow_dash: bool = False) -> None:
        """``what`` it is to name, for people."""
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, allow_dash=allow_dash, path_type=Path)
        self._what = what

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        if not os.fspath(value):
            self.fail(f"it is empty; name {self._what}", param, ctx)
        return super().convert(value, param, ctx)


data_type = PathType("a directory", file_okay=False)
file_type = PathType("a file", dir_okay=False)
document_type = PathType("a file, or - for standard input or output", dir_okay=False, allow_dash=True)

data_option = click.option(
    "--data",
    "data_dir",
    type=data_type,
    default=default_data_dir,
    metavar="DIR",
    help="Directory of the node: its data, its identity and its control socket."
    f"  [default: {str(default_data_dir()).replace(str(Path.home()), '~', 1)}]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class AddressType(click.ParamType[str]):
    """HOST:PORT on the command line."""

    name = "address"

    def __init__(self, *, to_bind: bool = False) -> None:
        """``to_bind``: it is where to listen, so port 0 stands for any."""
        self._to_bind = to_bind

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            _, port = split_address(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        if not port and not self._to_bind:
            self.fail(f"{value!r} has port 0, which is nobody's; name the port that a node listens on", param, ctx)
        return value


def wrong_usage(option: str, error: ConfigError) -> click.BadParameter:
    """What is wrong with the value of an option, as click words it: the exit code is 2."""
    return click.BadParameter(str(error), param_hint=f"'{option}'")


def checked(check: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, str], str]:
    """A callback for an option whose value makes ``check`` raise `ConfigError` if it is none."""

    def callback(ctx: click.Context, param: click.Parameter, value: str) -> str:
        try:
            check(value)
        except ConfigError as error:
            raise click.BadParameter(str(error), ctx, param) from None
        return value

    return callback


def parse_tags(texts: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE, several times; raises `click.UsageError`, also for what no member would take."""
    pairs = [text.partition("=") for text in texts]
    for key, equals, value in pairs:
        if not key or not equals:
            raise click.UsageError(f"a tag is KEY=VALUE, such as role=worker; not {key + equals + value!r}")
    tags = {key: value for key, _, value in pairs}
    try:
        check_tags(tags)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    return tags


def verb_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--data and --json, which every verb that talks to a node takes."""
    return data_option(json_option(command))


value_option = click.option(
    "--parse", is_flag=True, help="Read VALUE as JSON (a number, true, a list, an object) and not as text."
)


def parse_value(text: str, *, parse: bool) -> Any:
    """VALUE as it was meant; raises `click.UsageError`."""
    if not parse:
        return text
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        brief = text if len(text) <= 60 else text[:59] + "…"
        raise click.UsageError(f"VALUE is not JSON: {brief!r}; leave out --parse to store it as text") from None


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(constant: str) -> NoReturn:
    """For NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(constant)
