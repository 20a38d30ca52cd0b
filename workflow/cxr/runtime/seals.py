"""The SHA-256 of what a job wrote, recorded beside it and compared before another job reads it.

An output `model.pt` has `.model.pt.sha256` beside it, in the format of `sha256sum`, so that `sha256sum --check` reads it too.
The seal of a folder has a line for each file in it. Bytes that a disk lost or changed, a truncated copy or an edited file
are then noticed before their numbers reach a result.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from cxr.errors import InputError
from cxr.runtime.checksums import sha256_of
from cxr.runtime.journal import legible
from cxr.runtime.replacing import replacing

ENDING = ".sha256"
LINE = re.compile(r"(\\?)([0-9a-f]{64})  (.+)")  # a backslash before it: those in the name are doubled
ASIDE = ".damaged"  # after the name of an output that was found damaged
TRAINED = "facts.json"  # beside every output that took training


class Damaged(InputError):
    """A file is not what its job wrote."""


def place(path: Path) -> Path:
    """Return the path of the seal of an output, a file or a folder."""
    return path.with_name(f".{path.name}{ENDING}")


def flush(path: Path) -> None:
    """Wait until a file, or all files of a folder, are on the disk."""
    for each in (path, *_below(path)) if path.is_dir() else (path,):
        number = os.open(each, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def of(path: Path, name: str) -> str:
    """Return the seal of a file, or of all files of a folder, that will be called `name`."""
    if not path.is_dir():
        return _line(path, name)
    return "".join(_line(file, f"{name}/{file.relative_to(path).as_posix()}") for file in _below(path))


def write(outputs: Iterable[str]) -> None:
    """Seal outputs that are in their places."""
    for path in map(Path, outputs):
        flush(path)
        put(of(path, path.name), path)


def put(seal: str, path: Path) -> None:
    """Write the seal of an output; it appears whole or not at all."""
    with replacing(place(path), errors="surrogateescape") as file:
        file.write(seal)


def take_along(path: Path, copy: Path) -> None:
    """Give a hard link of an output the output's seal."""
    place(copy).unlink(missing_ok=True)
    os.link(place(path), place(copy))


def verified(path: Path, root: Path) -> str:
    """Return a file's SHA-256 after comparing it with its seal; files outside root, the results, have none.

    Raises Damaged, which names the file and the command to type, if the two differ or no seal is recorded.
    """
    path = Path(path)
    found = sha256_of(path)
    if not _below_root(path, root):
        return found
    seal, expected = _recorded(path, root)
    if expected != found and (expected or path.stat().st_size):  # Snakemake itself makes empty files, as marks
        raise Damaged(_advice(path, seal, found, expected))
    return found


def require_intact(inputs: Iterable[str], root: Path) -> None:
    """Raise Damaged for the first of these files that is below root and is not what was written (`verified`)."""
    for path in map(Path, inputs):
        if _below_root(path, root):
            verified(path, root)


def damaged(seal: Path) -> list[Path]:
    """Return the files of a seal that differ from it; [] if its whole output is gone.

    A file that is missing from a folder counts. A seal that cannot be read condemns its output.
    """
    output = sealed_by(seal)
    if not output.exists():
        return []
    try:
        expected = _read(seal)
    except (OSError, ValueError):
        return [output]
    files = [seal.parent / name for name in expected]
    return [file for file in files if not file.is_file() or sha256_of(file) != expected[_name(file, seal)]]


def sealed_by(seal: Path) -> Path:
    """Return the output that a seal belongs to."""
    return seal.with_name(seal.name.removeprefix(".").removesuffix(ENDING))


def took_training(output: Path) -> bool:
    """Return whether only training can make an output again."""
    return (output.parent / TRAINED).exists()


def set_aside(output: Path) -> Path:
    """Rename a damaged output, so that it is made again; return the new name. Its seal is removed."""
    aside = output.with_name(output.name + ASIDE)
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    place(output).unlink(missing_ok=True)
    if output.is_dir():
        aside.unlink(missing_ok=True)
    os.replace(output, aside)
    return aside


def _below_root(path: Path, root: Path) -> bool:
    return path.absolute().is_relative_to(root.absolute())


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _recorded(path: Path, root: Path) -> tuple[Path, str]:
    """Return the seal of a file, or of the folder it was written in, and what it says; "" if there is none."""
    above = [folder for folder in path.parents if _below_root(folder, root)]
    for output in (path, *above):
        seal = place(output)
        if seal.is_file():
            try:
                return seal, _read(seal).get(_name(path, seal), "")
            except (OSError, ValueError):
                return seal, ""
    return place(path), ""


def _read(seal: Path) -> dict[str, str]:
    """Return name, relative to the seal's folder → SHA-256."""
    found = {}
    for text in seal.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]:
        line = LINE.fullmatch(text)
        if line is None:
            raise ValueError("not in the form of sha256sum")
        found[line[3].replace("\\\\", "\\") if line[1] else line[3]] = line[2]
    return found


def _line(path: Path, name: str) -> str:
    if "\\" in name:
        return "\\" + f"{sha256_of(path)}  {name}".replace("\\", "\\\\") + "\n"
    return f"{sha256_of(path)}  {name}\n"


def _name(path: Path, seal: Path) -> str:
    return path.relative_to(seal.parent).as_posix()


def _advice(path: Path, seal: Path, found: str, expected: str) -> str:
    output = sealed_by(seal)
    what = (
        f"damaged: its SHA-256 is {found[:12]}…, {expected[:12]}… was recorded when it was written"
        if expected
        else "no SHA-256 was recorded when it was written"
    )
    cost = (
        "Training made it: restore a copy, or, to train it again, remove it" if took_training(output) else "Remove it"
    )
    return (
        f"{legible(path)}: {what}, so it is not used. {cost} and run the same command again: "
        f"rm -r {shlex.quote(legible(output))} {shlex.quote(legible(seal))}"
    )
