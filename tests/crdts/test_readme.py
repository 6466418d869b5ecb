"""Every example of the package's README runs."""

import re
from pathlib import Path

import pytest

import crdts
from crdts.replica import TYPES

README = Path(crdts.__file__).with_name("README.md")
TEXT = README.read_text()
BLOCKS = {  # by the number of lines above, so that a failure shows its place in the README
    TEXT.count("\n", 0, match.start(1)): match[1]
    for match in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
}


@pytest.mark.parametrize("line", BLOCKS)
def test_an_example_of_the_readme_runs(line: int) -> None:
    exec(compile("\n" * line + BLOCKS[line], str(README), "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("name", [*(kind.__name__ for kind in TYPES.values()), "Replica"])
def test_every_type_has_an_example(name: str) -> None:
    assert any(re.search(rf"^from crdts import .*\b{name}\b", block, re.MULTILINE) for block in BLOCKS.values())
