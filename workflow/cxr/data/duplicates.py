"""Which file counts if several below the root have the same image name: mirrors, thumbnails, heat maps.

Files with equal pixels are one image. If pixels differ, files that lie where the release puts them are preferred. If that
does not decide, the user has to say which folders count; nothing is guessed.
"""

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.data.formats import png
from cxr.data.formats.decode import UnusableImage, decode, require_radiograph
from cxr.data.image_cache import Building, ImageCache, Progress, Task, key_of, writing
from cxr.data.layouts import is_release_image
from cxr.data.ledger import OK, FileKey, Picture
from cxr.errors import InputError
from cxr.runtime.journal import legible

BATCH = 1024  # images compared at a time, so that a doubt is reported soon, not after all have been decoded
SAME, OTHER = "same pixels", "other pixels"


@dataclass(frozen=True)
class Aside:
    """A file that does not count, the one that counts instead, and why: equal, different or unusable pixels."""

    path: str
    used: str
    why: str


def settle(
    root: Path,
    candidates: Mapping[str, Sequence[str]],
    boxed: Iterable[str],
    cache: ImageCache,
    *,
    workers: int,
    progress: Progress,
) -> tuple[dict[str, str], list[Aside]]:
    """Return image name → the file that counts, and the files that do not count.

    candidates: image name → its files relative to root, those in the release's layout first (`image_files.find_images`).
    Several files are compared by size in pixels, by bytes, and only then decoded; the store's ledger keeps the results.
    The other arguments are those of `image_cache.update_store`. Raises InputError if pixels differ and the layout of
    the release does not decide.
    """
    used = {name: paths[0] for name, paths in candidates.items()}
    several = {name: candidates[name] for name in sorted(candidates) if len(candidates[name]) > 1}
    if not several:
        return used, []
    boxed, aside = set(boxed), []
    sides = {used[name]: cache.sides(name in boxed) for name in several}
    with writing(root, cache.folder, 0, workers, progress) as building:
        keys = {path: key_of(root, path) for paths in several.values() for path in paths}
        names = list(several)
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            known = _compared(building, [several[name] for name in batch], keys, sides)
            for name in batch:
                pictures = {path: known[path] for path in several[name]}
                usable = [path for path in _pool(several[name]) if pictures[path].status == OK]
                differing = [path for path in usable if not _equal(pictures[path], pictures[usable[0]])]
                if differing:
                    in_doubt = sum(len(_pool(paths)) > 1 for paths in several.values())
                    raise _doubt(root, in_doubt, name, {path: pictures[path] for path in (usable[0], differing[0])})
                used[name] = usable[0] if usable else several[name][0]
                aside += [_aside(path, used[name], pictures) for path in pictures if path != used[name]]
        building.commit()
    return used, aside


def _pool(paths: Sequence[str]) -> Sequence[str]:
    """Return the files that may count: those in the release's layout, else all."""
    return [path for path in paths if is_release_image(path)] or paths


def _doubt(root: Path, number: int, name: str, pictures: Mapping[str, Picture]) -> InputError:
    first, second = (f"{legible(path)} ({it.width}x{it.height})" for path, it in pictures.items())
    folder = next(legible(Path(path).parent) for path in reversed(list(pictures)) if "/" in path)
    return InputError(
        f"{root}: several files below this folder have the name of one image of the label table, but not the same pixels "
        f"(images concerned: {number:,}): {name} is {first} and {second}. Say which folders count with "
        f'data.include or data.exclude, for example data: {{exclude: ["{folder}/*"]}}'
    )


def _aside(path: str, used: str, pictures: Mapping[str, Picture]) -> Aside:
    status = pictures[path].status
    return Aside(path, used, status if status != OK else SAME if _equal(pictures[path], pictures[used]) else OTHER)


def _equal(one: Picture, other: Picture) -> bool:
    same_size = (one.width, one.height) == (other.width, other.height)
    return same_size and one.identity == other.identity


def _compared(
    building: Building, groups: Iterable[Sequence[str]], keys: Mapping[str, FileKey], sides: Mapping[str, Sequence[int]]
) -> dict[str, Picture]:
    """Return path → what is needed to tell whether the files of a group, which share a name, have equal pixels."""
    known = building.ledger.pictures
    found, tasks, twins = {}, [], {}
    for paths in groups:
        for path in paths:
            found[path] = known.get(keys[path]) or _looked_at(building.root, path)
            if found[path].status == OK:
                known[keys[path]] = found[path]
        for number, path in enumerate(paths):
            it = found[path]
            alike = [
                other
                for other in paths
                if other != path and (found[other].width, found[other].height) == (it.width, it.height)
            ]
            if it.status == OK and not it.identity and alike:
                earlier = [other for other in alike if found[other].identity or other in paths[:number]]
                twins[path] = next((other for other in earlier if _same_bytes(building.root, keys, path, other)), "")
                if not twins[path]:
                    tasks.append(Task(keys[path], tuple(sides.get(path, ()))))
    building.total += len(tasks)
    seen = building.add(tasks)
    for path, twin in twins.items():  # in order, so that a twin's own twin is already known
        found[path] = found[twin] if twin else seen[keys[path]]
        if found[path].status == OK:
            known[keys[path]] = found[path]
    return found


def _looked_at(root: Path, path: str) -> Picture:
    """Return the facts in a file's header."""
    try:
        try:
            facts = png.facts_of(root / path)
        except (OSError, ValueError):
            facts = decode(root / path)[-1]  # raises with the reason
        require_radiograph(root / path, facts)
    except UnusableImage as problem:
        return Picture(problem.width, problem.height, status=problem.reason)
    return Picture(facts.width, facts.height, depth=facts.depth, orientation=facts.orientation)


def _same_bytes(root: Path, keys: Mapping[str, FileKey], path: str, other: str) -> bool:
    try:
        return keys[path].size == keys[other].size and filecmp.cmp(root / path, root / other, shallow=False)
    except OSError:
        return False
