"""Pascal-VOC annotations of the boxed images: one XML file per image, valid against the VOC layout.

VOC corners are whole pixels, counted from 1, both ends included; ours are floats counted from 0, the end excluded.
Rounding: an edge moves to the nearest pixel boundary (a half upwards), then ``xmin = edge0 + 1`` and ``xmax = edge1``.
If both edges fall on the same boundary, the box keeps the one pixel that holds its centre. So a round trip moves an edge
by at most half a pixel (by less than one for a box narrower than a pixel), and a second round trip moves nothing.
"""

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from lxml import etree

from cxr.boxes import FRAME, parse_box_text
from cxr.errors import InputError
from cxr.labels import FINDINGS
from cxr.runtime.replacing import replacing

Box = tuple[str, float, float, float, float]

# The layout of the VOC2012 development kit without its optional parts (owner, occluded, part, actions).
LAYOUT = """
<!ELEMENT annotation (folder, filename, source, size, segmented, object*)>
<!ELEMENT folder (#PCDATA)>
<!ELEMENT filename (#PCDATA)>
<!ELEMENT source (database)>
<!ELEMENT database (#PCDATA)>
<!ELEMENT size (width, height, depth)>
<!ELEMENT width (#PCDATA)>
<!ELEMENT height (#PCDATA)>
<!ELEMENT depth (#PCDATA)>
<!ELEMENT segmented (#PCDATA)>
<!ELEMENT object (name, pose, truncated, difficult, bndbox)>
<!ELEMENT name (#PCDATA)>
<!ELEMENT pose (#PCDATA)>
<!ELEMENT truncated (#PCDATA)>
<!ELEMENT difficult (#PCDATA)>
<!ELEMENT bndbox (xmin, ymin, xmax, ymax)>
<!ELEMENT xmin (#PCDATA)>
<!ELEMENT ymin (#PCDATA)>
<!ELEMENT xmax (#PCDATA)>
<!ELEMENT ymax (#PCDATA)>
"""


def annotation(image: str, boxes: Sequence[Box], *, folder: str, side: int, database: str = "ChestX-ray14") -> bytes:
    """Build the XML text of one image.

    image: file name. boxes: (label, x0, y0, x1, y1) in the 1024 frame, end exclusive. side: side in pixels of the
    annotated image; corners are written in its pixels. database: the name of the source in the XML. Raises InputError
    for a box outside the frame or without area.
    """
    root = etree.Element("annotation")
    _add(root, "folder", folder)
    _add(root, "filename", image)
    _add(etree.SubElement(root, "source"), "database", database)
    size = etree.SubElement(root, "size")
    for name, value in (("width", side), ("height", side), ("depth", 1)):
        _add(size, name, value)
    _add(root, "segmented", 0)
    for label, *corners in boxes:
        x0, y0, x1, y1 = corners
        if not (0 <= x0 < x1 <= FRAME and 0 <= y0 < y1 <= FRAME):
            raise InputError(f"{image}: the {label} box {corners} is not inside the {FRAME}×{FRAME} frame")
        entry = etree.SubElement(root, "object")
        for name, value in (("name", label), ("pose", "Unspecified"), ("truncated", 0), ("difficult", 0)):
            _add(entry, name, value)
        (xmin, xmax), (ymin, ymax) = _pixels(x0, x1, side), _pixels(y0, y1, side)
        bndbox = etree.SubElement(entry, "bndbox")
        for name, value in (("xmin", xmin), ("ymin", ymin), ("xmax", xmax), ("ymax", ymax)):
            _add(bndbox, name, value)
    return etree.tostring(root, pretty_print=True, xml_declaration=True, encoding="UTF-8")


def read(path: Path) -> tuple[str, list[Box]]:
    """Read an annotation back: image file name and its boxes (label, x0, y0, x1, y1) in the 1024 frame, end exclusive.

    Raises InputError that names the file if it is not XML, not in the VOC layout, or has an unknown label or impossible
    corners.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(path.read_bytes(), parser)
    except etree.XMLSyntaxError as error:
        raise InputError(f"{path}: not readable as XML ({error}); delete it and run its rule again") from None
    layout = etree.DTD(io.StringIO(LAYOUT))
    if not layout.validate(root):
        problem = layout.error_log.filter_from_errors()[0].message
        raise InputError(f"{path}: not a Pascal-VOC annotation: {problem}")
    width, height = (_whole(path, root.find("size"), name) for name in ("width", "height"))
    boxes = []
    for entry in root.findall("object"):
        label = entry.findtext("name")
        if label not in FINDINGS:
            raise InputError(f"{path}: unknown label '{label}' (known: {', '.join(FINDINGS)})")
        xmin, ymin, xmax, ymax = (_whole(path, entry.find("bndbox"), name) for name in ("xmin", "ymin", "xmax", "ymax"))
        if not (1 <= xmin <= xmax <= width and 1 <= ymin <= ymax <= height):
            raise InputError(
                f"{path}: the {label} box ({xmin}, {ymin}, {xmax}, {ymax}) is not inside 1 … {width}, 1 … {height}"
            )
        wide, high = FRAME / width, FRAME / height
        boxes.append((label, (xmin - 1) * wide, (ymin - 1) * high, xmax * wide, ymax * high))
    return root.findtext("filename"), boxes


def write_split(split: pd.DataFrame, folder: Path, side: int = FRAME, database: str = "ChestX-ray14") -> pd.DataFrame:
    """Write one XML file per image of a box split and remove the files of images no longer in it.

    split: a box split (columns image, boxes). Returns the manifest: image, file (relative to folder), boxes (their
    number), sha256 of the file. Files with unchanged content keep their time stamp.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for image, text in zip(split["image"], split["boxes"], strict=True):
        boxes = parse_box_text(text)
        content = annotation(image, boxes, folder=folder.name, side=side, database=database)
        name = Path(image).with_suffix(".xml").name
        _write(folder / name, content)
        rows.append((image, name, len(boxes), hashlib.sha256(content).hexdigest()))
    manifest = pd.DataFrame(rows, columns=["image", "file", "boxes", "sha256"])
    if manifest["file"].duplicated().any():
        twice = manifest.loc[manifest["file"].duplicated(keep=False), "image"].tolist()
        raise InputError(
            f"{folder}: images {', '.join(twice)} would share one annotation file; image names must differ"
        )
    for path in set(folder.glob("*.xml")) - {folder / name for name in manifest["file"]}:
        path.unlink()
    return manifest


def _pixels(low: float, high: float, side: int) -> tuple[int, int]:
    low, high = low * side / FRAME, high * side / FRAME
    first, end = math.floor(low + 0.5), math.floor(high + 0.5)
    if first == end:
        first = math.floor((low + high) / 2)
        end = first + 1
    return first + 1, end


def _add(parent: etree._Element, name: str, value: object) -> None:
    etree.SubElement(parent, name).text = str(value)


def _whole(path: Path, parent: etree._Element, name: str) -> int:
    text = parent.findtext(name)
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{path}: <{name}> is '{text}', not a whole number") from None


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    with replacing(path, binary=True, durable=False) as file:
        file.write(content)
