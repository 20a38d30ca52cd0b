"""Darknet's cfg files: the sections of a network, with their options checked as they are read.

A cfg is a list of sections, ``[net]`` first, each with lines ``name=value``; ``#`` and ``;`` start comments. Blanks do not count.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr.errors import InputError

NETS = ("net", "network")
# Options of each kind of section that are read here, and those that only Darknet's own training reads.
KNOWN = {
    "convolutional": ({"batch_normalize", "filters", "size", "stride", "pad", "padding", "activation"}, set()),
    "maxpool": ({"size", "stride"}, set()),
    "route": ({"layers"}, set()),
    "reorg": ({"stride"}, set()),
    "region": (
        {
            "anchors", "num", "classes", "coords", "softmax", "bias_match", "rescore", "thresh",
            "object_scale", "noobject_scale", "class_scale", "coord_scale",
        },
        {"jitter", "absolute", "random"},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A section of a cfg: its kind, its options as text, and where it stands (file and line) for messages."""

    kind: str
    options: dict[str, str]
    where: str

    def error(self, problem: str) -> InputError:
        return InputError(f"{self.where}: [{self.kind}]: {problem}")

    def real(self, name: str, default: float | None = None) -> float:
        """Return an option as a number; without a default it is required."""
        return self.reals(name, None if default is None else (default,), 1)[0]

    def whole(self, name: str, default: int | None = None, least: int = 0) -> int:
        """Return an option as a whole number of at least `least`."""
        value = self.real(name, default)
        if value != int(value) or value < least:
            raise self.error(f"{name}={self.options[name]}: expected a whole number of at least {least}")
        return int(value)

    def reals(self, name: str, default: Sequence[float] | None = None, count: int | None = None) -> tuple[float, ...]:
        """Return an option as numbers, separated by commas."""
        text = self.options.get(name)
        if text is None:
            if default is None:
                raise self.error(f"'{name}' is missing")
            return tuple(default)
        try:
            values = tuple(float(part) for part in text.rstrip(",").split(","))
        except ValueError:
            values = ()
        if not values or not all(map(math.isfinite, values)) or count not in (None, len(values)):
            raise self.error(f"{name}={text}: expected {'a number' if count == 1 else 'numbers separated by commas'}")
        return values


def read(path: Path) -> list[Section]:
    """Return the sections of a cfg file. Raises InputError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as a Darknet cfg ({error})") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> list[Section]:
    """Return the sections of a cfg. name: the file, for messages. Raises InputError naming file and line.

    Refuses sections and options that this package does not carry out, since they would change the network silently.
    """
    found: list[Section] = []
    for row, line in enumerate(text.splitlines(), start=1):
        line = re.sub(r"\s|[#;].*", "", line)
        if line.startswith("[") and line.endswith("]"):
            found.append(Section(line[1:-1], {}, f"{name}, line {row}"))
        elif line:
            option, equals, value = line.partition("=")
            if not found or not (option and equals):
                raise InputError(
                    f"{name}, line {row}: '{line}' is neither '[section]' nor 'name=value' within a section"
                )
            found[-1].options[option] = value
    if not found or found[0].kind not in NETS or found[-1].kind != "region":
        raise InputError(f"{name}: not the cfg of a YOLOv2: its first section must be [net], its last [region]")
    for section in found[1:]:
        _require_known(section)
    return found


def text(sections: Sequence[Section]) -> str:
    """Return the cfg text of sections; `parse` reads it back."""
    return "\n".join(
        f"[{section.kind}]\n" + "".join(f"{name}={value}\n" for name, value in section.options.items())
        for section in sections
    )


def adapted(sections: Sequence[Section], classes: int, anchors: Sequence[float], side: int) -> list[Section]:
    """Return the sections of the same network for other classes, other anchors and another side of its input, in pixels.

    Its last convolution gets the filters that these need. anchors: widths and heights in turn, in cells; empty: as they are.
    Raises InputError if a convolution is not what stands before the region layer.
    """
    *first, last, region = (dataclasses.replace(section, options=dict(section.options)) for section in sections)
    if last.kind != "convolutional":
        raise last.error("a convolution must stand before the region layer")
    first[0].options.update(width=str(side), height=str(side))
    count = len(anchors) // 2 if anchors else region.whole("num", 1, least=1)
    if anchors:
        region.options.update(anchors=",".join(f"{number:g}" for number in anchors), num=str(count))
    region.options.update(classes=str(classes))
    last.options.update(filters=str(count * (5 + classes)))
    return [*first, last, region]


def _require_known(section: Section) -> None:
    if section.kind not in KNOWN:
        raise section.error(f"this section is not known here; known are {', '.join(sorted(KNOWN))}")
    read_here, of_training = KNOWN[section.kind]
    for name, value in section.options.items():
        if name not in read_here | of_training:
            raise section.error(
                f"the option {name}={value} is not known here; known are {', '.join(sorted(read_here))}"
            )
