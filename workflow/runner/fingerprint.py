"""Content hashes of the package's own code, so that a changed algorithm re-runs its rules and a changed comment none.

What a script executes is followed from definition to definition, not from module to module: a new metric beside the one
that training uses does not affect training.
"""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cxr"
SCRIPTS = PACKAGE.parent / "scripts"
# Modules, or whole packages, that define values which rules pass as params, or keep a run going without touching its
# numbers.
NEUTRAL = {"settings", "errors", "runtime", "training.runs", "training.checkpoint"}
FORMAT = b"2"  # of the results; raised when those of earlier versions lack what jobs read today

Definition = tuple[str, str]  # module within the package, such as data.tables; name


@dataclass
class Module:
    """A parsed file: its top-level definitions by name, its other statements, and what its names import."""

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    statements: list[ast.stmt] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)  # local name → module of the package
    names: dict[str, Definition] = field(default_factory=dict)  # local name → definition in another module


@cache
def of_script(script: str, *files: str) -> str:
    """Hash the code of `scripts/<script>.py` and of all definitions of the package that it uses, directly or not.

    Comments, docstrings and layout do not count. files: of the package, with their suffix; hashed byte for byte.
    """
    digest = hashlib.blake2b(FORMAT, digest_size=8)
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + (PACKAGE / name).read_bytes())
    source = _parsed(SCRIPTS / f"{script}.py")
    own = [statement for group in source.definitions.values() for statement in group] + source.statements
    for statement in own:
        digest.update(_text(statement))
    for module, name in sorted(reached(script)):
        parsed = _module(module)
        for statement in parsed.definitions.get(name, parsed.statements):
            digest.update(f"{module}.{name}".encode() + b"\0" + _text(statement))
    return digest.hexdigest()


def remembered(memory: Path, script: str, *files: str) -> str:
    """Return `of_script`, read from the file `memory` while no file of the package has changed: parsing takes a second."""
    name = " ".join([script, *files])
    known = _memory(memory)
    if name not in known:
        known[name] = of_script(script, *files)
        with suppress(OSError):  # nowhere to write: parsed again next time
            memory.parent.mkdir(parents=True, exist_ok=True)
            fresh = memory.with_name(f"{memory.name}.{os.getpid()}")
            fresh.write_text(json.dumps({"of": _everything(), "known": known}), encoding="utf-8")
            fresh.replace(memory)
    return known[name]


@cache
def _memory(path: Path) -> dict[str, str]:
    """Return the remembered hashes of the package as it is now: script and files → hash."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["known"] if content["of"] == _everything() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@cache
def _everything() -> str:
    """Hash all files of the package and its scripts, byte for byte, and Python's version, on which parsing depends."""
    digest = hashlib.blake2b(sys.version.encode(), digest_size=16)
    for folder in (PACKAGE, SCRIPTS):
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            digest.update(name.encode() + b"\0" + hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def reached(script: str) -> set[Definition]:
    """Return the definitions that a script uses; (module, "") stands for a module's statements outside any definition."""
    source = _parsed(SCRIPTS / f"{script}.py")
    statements = [statement for group in source.definitions.values() for statement in group] + source.statements
    waiting = [used for statement in statements for used in _uses(source, statement)]
    seen: set[Definition] = set()
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen or _is_neutral(module):
            continue
        seen.add((module, name))
        parsed = _module(module)
        if name not in parsed.definitions and name:  # imported there from elsewhere, or the module as a whole
            seen.discard((module, name))
            waiting += [parsed.names[name]] if name in parsed.names else [(module, each) for each in parsed.definitions]
            continue
        waiting.append((module, ""))
        for statement in parsed.definitions.get(name, parsed.statements):
            waiting += [
                (module, used) if used in parsed.definitions else parsed.names[used]
                for used in _loaded(statement)
                if used in parsed.definitions or used in parsed.names
            ]
            waiting += _uses(parsed, statement)
    return seen


def _is_neutral(module: str) -> bool:
    return module in NEUTRAL or module.partition(".")[0] in NEUTRAL


@cache
def imports(name: str) -> frozenset[str]:
    """Names of the package's modules that `cxr.<name>` imports; name: as in `data.tables`."""
    return _imports(_module(name))


def imports_of_script(script: str) -> frozenset[str]:
    """Names of the package's modules that `scripts/<script>.py` imports."""
    return _imports(_parsed(SCRIPTS / f"{script}.py"))


def _imports(parsed: Module) -> frozenset[str]:
    return frozenset(parsed.modules.values()) | {module for module, _ in parsed.names.values()}


def _uses(parsed: Module, statement: ast.stmt) -> Iterator[Definition]:
    """Yield what a statement takes from other modules: names imported from them, and attributes of imported modules."""
    attributes, bare = _words(statement)
    for name, attribute in attributes:
        if name in parsed.modules:
            yield parsed.modules[name], attribute
        elif name in parsed.names:
            yield parsed.names[name]
    for name in bare:
        if name in parsed.names:
            yield parsed.names[name]
        elif name in parsed.modules:
            yield parsed.modules[name], "*"


@cache
def _words(statement: ast.stmt) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Return the attributes of names in a statement, and its other names; once for all scripts that reach it."""
    nodes = list(ast.walk(statement))
    owners = {
        id(node.value): node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    attributes = frozenset((node.value.id, node.attr) for node in owners.values())
    return attributes, frozenset(node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in owners)


def _loaded(statement: ast.stmt) -> set[str]:
    attributes, bare = _words(statement)
    return {name for name, _ in attributes} | bare


@cache
def _module(name: str) -> Module:
    return _parsed(_file(name))


def _file(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


@cache
def _parsed(path: Path) -> Module:
    module = Module()
    for node in ast.walk(tree := _Undocumented().visit(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("cxr."):
            origin = (node.module or "").removeprefix("cxr").lstrip(".")
            for alias in node.names:
                local, inner = alias.asname or alias.name, f"{origin}.{alias.name}".lstrip(".")
                if _file(inner).is_file():
                    module.modules[local] = inner
                else:
                    module.names[local] = (origin, alias.name)
    for statement in tree.body:
        names = list(_defined(statement))
        for name in names:
            module.definitions.setdefault(name, []).append(statement)
        if not names and not isinstance(statement, ast.Import | ast.ImportFrom):
            module.statements.append(statement)
    return module


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


@cache
def _text(statement: ast.stmt) -> bytes:
    return ast.dump(statement).encode()


class _Undocumented(ast.NodeTransformer):
    """Strips docstrings and other bare texts."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node
