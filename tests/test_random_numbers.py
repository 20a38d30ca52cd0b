"""Random inputs of tests are the same in every run, alone or after others: else a failure could not be had again."""

import ast
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent
DRAWN = []


def unseeded(text: str) -> list[int]:
    """Lines that draw from the state that numpy or the standard library keep, or from a generator without a seed."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        module, name = ast.unparse(node.func.value), node.func.attr
        generator = (module, name) in (("np.random", "default_rng"), ("random", "Random"))
        imported = module == "np.random" or (module == "random" and "import random" in text.splitlines())
        if (generator and not node.args) or (imported and not generator):
            found.append(node.lineno)
    return found


def test_what_is_unseeded_is_seen() -> None:
    lines = ["import random", "np.random.rand(3)", "np.random.default_rng()", "np.random.default_rng(1).random(3)"]
    lines += ["random.random()", "random.Random(0).random()", "random.Random()"]
    assert unseeded("\n".join(lines)) == [2, 3, 5, 7]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_no_test_draws_from_an_unseeded_generator(path: Path) -> None:
    assert unseeded(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("time", ["first", "second"])
def test_torch_draws_the_same_in_every_test(time: str) -> None:
    DRAWN.append(torch.rand(3).tolist())
    assert torch.initial_seed() == 0 and DRAWN[-1] == DRAWN[0], time
