"""Content hashes of the package's own modules, so that a changed algorithm re-runs its rules and a changed comment none."""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


@cache
def of_modules(*names: str) -> str:
    """Hash the code of `cxr.<name>` and of every module of the package they import, directly or not.

    Comments, docstrings and layout do not count; non-Python files of the package (templates) named with their suffix
    count byte for byte.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(_closure(names)):
        digest.update(name.encode() + b"\0" + _code(name).encode() + b"\0")
    return digest.hexdigest()


@cache
def imports(name: str) -> frozenset[str]:
    """Names of the package's modules that `cxr.<name>` imports."""
    if "." in name:
        return frozenset()
    found = set()
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.ImportFrom) and node.module == "cxr":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxr."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("cxr.")}
    return frozenset(found)


def _closure(names: tuple[str, ...]) -> set[str]:
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imports(name)
    return seen


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{name}.py").read_text())


def _code(name: str) -> str:
    if "." in name:
        return (PACKAGE / name).read_text()
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
