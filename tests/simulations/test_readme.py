"""The README's example runs, and prints what the README says."""

import re
from pathlib import Path

import pytest

import simulations

README = (Path(simulations.__file__).parent / "README.md").read_text()


def test_the_example_prints_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "simulations/README.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_every_name_in_the_table_exists() -> None:
    cluster = simulations.Cluster(1)
    names = {"cluster": cluster, "node": cluster[0]}
    found = re.findall(r"`(cluster|node)\.([a-z_.]+)\b(?<!\.py)", README)
    assert len(found) > 8
    for owner, path in found:
        thing: object = names[owner]
        for name in path.split("."):
            thing = getattr(thing, name)
