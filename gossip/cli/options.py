"""Options that several verbs share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import platformdirs


def default_data_dir() -> Path:
    """Where a node lives when nobody says otherwise."""
    return platformdirs.user_data_path("gossip-crdts") / "node"


data_option = click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data_dir,
    metavar="DIR",
    help=f"The node's data directory.  [default: {default_data_dir()}]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        brief = text if len(text) <= 60 else text[:59] + "…"
        raise click.UsageError(f"VALUE is not JSON: {brief!r}; leave out --parse to store it as text") from None


def _refuse(constant: str) -> Any:
    """NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(constant)
