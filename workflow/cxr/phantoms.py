"""Generated frontal chest X-rays ("phantoms") in the layout of the NIH ChestX-ray14 release.

They let the whole study run anywhere in minutes and are no medical data: shapes, grey levels, and the positions and
sizes of boxes follow what one sees in the release (Wang et al., CVPR 2017); prevalences are raised so that small sets
have support.

Drawing is done in attenuation: tissue adds, air takes away, the film curve 1 - exp(-attenuation) is applied last.
Body coordinates are fractions of the frame's side: X runs from the patient's right (negative, left in the image) to
the left, Y from top to bottom. Random numbers of an image depend on seed, patient and follow-up only, those of a
finding also on the finding, so the same image can be drawn with and without it.
"""

import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.interpolate import PchipInterpolator

from cxr.errors import InputError
from cxr.labels import BOX_ALIASES, BOXED_FINDINGS, FINDINGS, NO_FINDING, SEPARATOR

LABEL_TABLE = "Data_Entry_2017_v2020.csv"
BOX_TABLE = "BBox_List_2017.csv"
TRAIN_VAL_LIST = "train_val_list.txt"
TEST_LIST = "test_list.txt"
FRAME = 1024  # side of the frame boxes are written in, whatever the size of the drawn image
MAX_PER_ARCHIVE = 5000  # the release's archives hold about as many

_LABEL_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_BOX_SPELLING = {canonical: written for written, canonical in BOX_ALIASES.items()}
# the release's most frequent detectors: width, height in pixels, pixel spacing in mm as the table writes it
_DETECTORS = (
    (2500, 2048, "0.168"),
    (2992, 2991, "0.14300000000000002"),
    (3056, 2544, "0.139"),
    (2048, 2500, "0.171"),
)
_TEST_PER_BOXED = 1.32  # images of the test list for every boxed one
_NO_FINDING_TRAIN, _NO_FINDING_TEST = 0.62, 0.70  # share of No Finding among images without boxes
_RGBA_SHARE = 0.03

# Share of images in which a finding is the leading one: among boxed images, among the other images with findings.
_LEADING_BOXED = {
    "Atelectasis": 0.145,
    "Cardiomegaly": 0.13,
    "Effusion": 0.135,
    "Infiltration": 0.13,
    "Mass": 0.112,
    "Nodule": 0.112,
    "Pneumonia": 0.12,
    "Pneumothorax": 0.116,
}
_LEADING = {
    "Atelectasis": 0.06,
    "Cardiomegaly": 0.06,
    "Effusion": 0.045,
    "Infiltration": 0.05,
    "Mass": 0.075,
    "Nodule": 0.06,
    "Pneumonia": 0.075,
    "Pneumothorax": 0.065,
    "Consolidation": 0.08,
    "Edema": 0.075,
    "Emphysema": 0.085,
    "Fibrosis": 0.09,
    "Pleural_Thickening": 0.075,
    "Hernia": 0.115,
}
# What comes along with a leading finding, and how often.
_COMPANIONS = {
    "Atelectasis": {"Effusion": 0.25, "Infiltration": 0.2, "Consolidation": 0.1, "Pneumothorax": 0.04},
    "Cardiomegaly": {"Effusion": 0.25, "Edema": 0.2, "Infiltration": 0.1, "Hernia": 0.04},
    "Effusion": {"Atelectasis": 0.25, "Infiltration": 0.2, "Pleural_Thickening": 0.12, "Cardiomegaly": 0.1},
    "Infiltration": {"Atelectasis": 0.15, "Effusion": 0.18, "Edema": 0.08, "Nodule": 0.07, "Fibrosis": 0.05},
    "Mass": {"Nodule": 0.15, "Effusion": 0.15, "Atelectasis": 0.08, "Pleural_Thickening": 0.08, "Emphysema": 0.06},
    "Nodule": {"Mass": 0.1, "Infiltration": 0.15, "Emphysema": 0.1, "Fibrosis": 0.08, "Pleural_Thickening": 0.08},
    "Pneumonia": {"Infiltration": 0.2, "Edema": 0.15, "Consolidation": 0.12, "Effusion": 0.12},
    "Pneumothorax": {"Emphysema": 0.2, "Atelectasis": 0.15, "Effusion": 0.1, "Pleural_Thickening": 0.08},
    "Consolidation": {"Effusion": 0.25, "Infiltration": 0.15, "Pneumonia": 0.1, "Atelectasis": 0.1},
    "Edema": {"Effusion": 0.25, "Cardiomegaly": 0.2, "Infiltration": 0.2, "Pneumonia": 0.08},
    "Emphysema": {"Pneumothorax": 0.15, "Nodule": 0.08, "Fibrosis": 0.06, "Pleural_Thickening": 0.08},
    "Fibrosis": {"Pleural_Thickening": 0.2, "Infiltration": 0.15, "Nodule": 0.06},
    "Pleural_Thickening": {"Effusion": 0.15, "Fibrosis": 0.12, "Nodule": 0.06},
    "Hernia": {"Cardiomegaly": 0.08, "Atelectasis": 0.06},
}
_AP_SHARE = {"Edema": 0.8, "Consolidation": 0.6, "Pneumonia": 0.6, "Effusion": 0.5, "Pneumothorax": 0.45, "Hernia": 0.1}


# ---------------------------------------------------------------------------------------------------------------- plan


@dataclass(frozen=True)
class Phantom:
    """One image of the set before it is drawn.

    age: years; sex: "M" or "F"; view: "PA" or "AP"; findings: in the order of ``FINDINGS``, empty for No Finding;
    boxed: those of the findings whose boxes the box list names; test: whether the image is in the test list.
    """

    patient: int
    follow_up: int
    age: int
    sex: str
    view: str
    findings: tuple[str, ...] = ()
    boxed: tuple[str, ...] = ()
    test: bool = False

    @property
    def name(self) -> str:
        """File name as in the release: ``00000001_000.png``."""
        return f"{self.patient:08d}_{self.follow_up:03d}.png"


def plan(*, patients: int, images: int, boxed: int, seed: int) -> list[Phantom]:
    """Decide who is in the set and what each image shows, without drawing anything.

    Every patient has at least one image; exactly ``boxed`` images have boxes, all of patients of the test list.
    Follow-ups often share the leading finding. Raises InputError when the three numbers do not fit together.
    """
    if patients < 2 or images < patients:
        raise InputError(
            f"phantoms: {images} images for {patients} patients; set phantoms.patients to at least 2 "
            "and phantoms.images to at least phantoms.patients"
        )
    if not 0 <= boxed <= 0.6 * images:
        raise InputError(
            f"phantoms: {boxed} boxed of {images} images leaves too few for training; "
            f"set phantoms.boxed to at most {int(0.6 * images)}"
        )
    rng = np.random.default_rng([1, seed])
    counts = _images_per_patient(rng, patients, images)
    test_patients = _test_patients(rng, counts, boxed)

    slots = [(p, f) for p in range(patients) for f in range(counts[p])]
    in_test = [slot for slot in slots if slot[0] in test_patients]
    in_train = [slot for slot in slots if slot[0] not in test_patients]
    with_box = {in_test[k] for k in rng.permutation(len(in_test))[:boxed]}
    free_test = [slot for slot in in_test if slot not in with_box]

    leading: dict[tuple[int, int], str] = {}
    for group, share in ((free_test, 1 - _NO_FINDING_TEST), (in_train, 1 - _NO_FINDING_TRAIN)):
        count = round(share * len(group))
        chosen = _chosen_in_runs(rng, group, count)
        leading.update(zip(chosen, _in_runs(rng, _LEADING, count), strict=True))
    order = [slot for slot in in_test if slot in with_box]
    leading.update(zip(order, _in_runs(rng, _LEADING_BOXED, len(order)), strict=True))

    result = []
    for patient in range(patients):
        age, sex = int(np.clip(rng.normal(48, 16), 4, 92)), "M" if rng.random() < 0.56 else "F"
        for follow_up in range(counts[patient]):
            age = min(age + int(rng.random() < 0.3), 94) if follow_up else age
            slot = (patient, follow_up)
            findings, boxes = _complete(rng, leading.get(slot), slot in with_box)
            ap = max((_AP_SHARE.get(finding, 0.35) for finding in findings), default=0.35)
            view = "AP" if rng.random() < ap else "PA"
            test = patient in test_patients
            result.append(Phantom(patient + 1, follow_up, age, sex, view, findings, boxes, test))
    return result


def _images_per_patient(rng: np.random.Generator, patients: int, images: int) -> np.ndarray:
    """Most patients have few images, some have many, as in the release."""
    appetite = rng.exponential(size=patients)
    return 1 + rng.multinomial(images - patients, appetite / appetite.sum())


def _test_patients(rng: np.random.Generator, counts: np.ndarray, boxed: int) -> set[int]:
    """Take patients in random order until their images carry the boxes with some to spare; one stays for training."""
    target = max(math.ceil(_TEST_PER_BOXED * boxed), round(0.2 * counts.sum()), 1)
    chosen: set[int] = set()
    total = 0
    for patient in rng.permutation(len(counts))[:-1]:
        if total >= target:
            break
        chosen.add(int(patient))
        total += int(counts[patient])
    if total < boxed:
        raise InputError(
            f"phantoms: the patients of the test list have {total} images, {boxed} should have boxes; "
            "raise phantoms.patients or lower phantoms.boxed"
        )
    return chosen


def _chosen_in_runs(rng: np.random.Generator, slots: list, count: int) -> list:
    """Choose images so that those of one patient tend to be ill together; in the order of the slots."""
    illness = {patient: rng.random() for patient in sorted({slot[0] for slot in slots})}
    score = [illness[slot[0]] + rng.normal(0, 0.35) for slot in slots]
    return [slots[k] for k in sorted(np.argsort(score, kind="stable")[:count])]


def _in_runs(rng: np.random.Generator, shares: dict[str, float], count: int) -> list[str]:
    """``count`` labels in the given shares (largest remainder), in short runs of the same label in random order."""
    names = list(shares)
    exact = np.array([shares[name] for name in names]) * count / sum(shares.values())
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: count - quota.sum()]] += 1
    runs = []
    for name, left in zip(names, quota, strict=True):
        while left > 0:
            length = min(int(rng.integers(1, 4)), int(left))
            runs.append([name] * length)
            left -= length
    return [name for k in rng.permutation(len(runs)) for name in runs[k]]


def _complete(rng: np.random.Generator, leading: str | None, boxed: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add companions to the leading finding and choose which findings get boxes."""
    if leading is None:
        return (), ()
    found = {leading}
    for companion, share in _COMPANIONS[leading].items():
        if rng.random() < share and len(found) < 4:
            found.add(companion)
    if "Cardiomegaly" in found:
        found.discard("Emphysema")  # one widens the heart, the other narrows it
    ordered = [f for f in FINDINGS if f in found]  # a set has another order in every process, and each draw its turn
    boxes = {f for f in ordered if f in BOXED_FINDINGS and (f == leading or rng.random() < 0.15)} if boxed else set()
    return tuple(ordered), tuple(f for f in ordered if f in boxes)


# ------------------------------------------------------------------------------------------------------------- writing


def write_data_set(
    root: Path,
    *,
    patients: int,
    images: int,
    boxed: int,
    size: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a set in the layout of the release: label table, box list, both lists, PNGs below ``images_NNN/images``.

    size: side of the PNGs in pixels (boxes stay in the 1024 frame); workers: processes that draw; progress: called with
    (images done, all images). The files written are the same for every number of workers.
    Raises InputError when the numbers do not fit together (see ``plan``).
    """
    phantoms = plan(patients=patients, images=images, boxed=boxed, seed=seed)
    per_archive = min(MAX_PER_ARCHIVE, max(1, math.ceil(len(phantoms) / 2)))
    paths = [root / f"images_{k // per_archive + 1:03d}" / "images" / p.name for k, p in enumerate(phantoms)]
    for folder in sorted({path.parent for path in paths}):
        folder.mkdir(parents=True, exist_ok=True)

    job = partial(_draw_and_save, size=size, seed=seed)
    boxes = []
    for found in in_order(job, list(zip(phantoms, paths, strict=True)), workers):
        boxes.append(found)
        if progress:
            progress(len(boxes), len(phantoms))

    _write_lines(root / LABEL_TABLE, [_LABEL_HEADER, *(_label_row(phantom, seed) for phantom in phantoms)])
    _write_lines(root / BOX_TABLE, [_BOX_HEADER, *_box_rows(phantoms, boxes)])
    _write_lines(root / TRAIN_VAL_LIST, [phantom.name for phantom in phantoms if not phantom.test])
    _write_lines(root / TEST_LIST, [phantom.name for phantom in phantoms if phantom.test])


Item, Result = TypeVar("Item"), TypeVar("Result")


def in_order(job: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield job(item) of each item in their order, from so many processes."""
    if workers <= 1:
        yield from map(job, items)
        return
    # fork: with spawn each child would run the calling script again
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(job, items, chunksize=4)


def _draw_and_save(planned: tuple[Phantom, Path], *, size: int, seed: int) -> dict[str, list[tuple]]:
    phantom, path = planned
    pixels, boxes = draw(phantom, size=size, seed=seed)
    picture = Image.fromarray(pixels)
    if _stream(_RGBA, seed, phantom).random() < _RGBA_SHARE:
        picture = picture.convert("RGBA")  # as some files of the release
    picture.save(path, compress_level=1)
    return boxes


def _label_row(phantom: Phantom, seed: int) -> str:
    width, height, spacing = _DETECTORS[int(_stream(_DETECTOR, seed, phantom).integers(len(_DETECTORS)))]
    labels = SEPARATOR.join(phantom.findings) or NO_FINDING
    return (
        f"{phantom.name},{labels},{phantom.follow_up},{phantom.patient},{phantom.age},{phantom.sex},{phantom.view},"
        f"{width},{height},{spacing},{spacing}"
    )


def _box_rows(phantoms: list[Phantom], boxes: list[dict[str, list[tuple]]]) -> list[str]:
    """Grouped by finding, as in the release."""
    return [
        f"{phantom.name},{_BOX_SPELLING.get(finding, finding)},{','.join(f'{value:.15g}' for value in box)}"
        for finding in BOXED_FINDINGS
        for phantom, found in zip(phantoms, boxes, strict=True)
        if finding in phantom.boxed
        for box in found[finding]
    ]


def _write_lines(path: Path, lines: list[str]) -> None:
    part = path.with_name(f".part-{path.name}")
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    part.replace(path)


# ------------------------------------------------------------------------------------------------------------- drawing

_BASE = 512  # side of the grid anatomy is computed on; only noise and lettering are drawn at full size
_TABLE = 4096  # entries of a border table
# One stream of random numbers a purpose; _ANATOMY, _BUILD and _VESSELS are the patient's, the rest the image's.
_ANATOMY, _BUILD, _VESSELS, _BREATH, _POSE, _STOMACH, _TEXTURE, _HEALTHY = range(2, 10)
_FILM, _HARDWARE, _NOISE, _RGBA, _DETECTOR = range(10, 15)
_FINDING = 100  # + index of the finding
# the inner chest wall: (share of the way from apex to base, share of the greatest half width)
_WALL = ((0, 0.5), (0.06, 0.62), (0.14, 0.73), (0.26, 0.84), (0.45, 0.93), (0.7, 0.99), (0.9, 1.0), (1.1, 0.985))
_AIR = 1.9  # attenuation that full lung depth takes away


def _stream(kind: int, seed: int, phantom: Phantom) -> np.random.Generator:
    return np.random.default_rng([kind, seed, phantom.patient, phantom.follow_up])


@dataclass(frozen=True)
class _Geometry:
    """Where things are in body coordinates (fractions of the frame's side)."""

    half_width: float  # of the rib cage, inside
    apex: float  # Y of the lung tops
    dome: tuple[float, float]  # Y of the diaphragm's top, right and left
    angle: float  # how far the costophrenic angles lie below the domes
    heart: tuple[float, float]  # reach of the heart to the right and left of the midline
    heart_top: float
    knob: float  # bulge of the aortic arch
    fat: float  # chest wall outside the ribs
    slope: float  # drop of the shoulders
    rib_gap: float
    rib_start: float
    rib_drop: float
    breast: float
    bone: float
    twist: float


@dataclass(frozen=True)
class _Pose:
    """How the body lies in the frame."""

    angle: float
    scale: float
    shift: tuple[float, float]

    def to_frame(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple:
        """Body coordinates to fractions of the frame."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        u, v = np.multiply(x, self.scale), np.multiply(np.subtract(y, 0.5), self.scale)
        return c * u - s * v + 0.5 + self.shift[0], s * u + c * v + 0.5 + self.shift[1]


@dataclass
class _Scene:
    """The fields a drawing is made of, each (512, 512) float32; findings change them in place."""

    geometry: _Geometry
    pose: _Pose
    x: np.ndarray
    y: np.ndarray
    side_x: np.ndarray  # |X|
    to_wall: np.ndarray  # distance to the inner chest wall, positive inside
    to_top: np.ndarray  # distance below the apex border
    to_floor: np.ndarray  # distance above the diaphragm
    lung: np.ndarray  # 0..1, without what the heart and mediastinum cover
    behind: np.ndarray  # 0..1, the same with it
    air: np.ndarray
    vessels: np.ndarray  # attenuation of vessel markings
    texture: np.ndarray  # standard deviation about 1, fine
    extra: np.ndarray  # attenuation added at the end
    coarse: list[np.ndarray] = field(default_factory=list)


def draw(phantom: Phantom, *, size: int, seed: int) -> tuple[np.ndarray, dict[str, list[tuple]]]:
    """Draw one image.

    Returns pixels (size, size) uint8 and, for each of the image's findings that the release boxes (whether or not the
    plan writes it to the box list), its boxes: x, y, width, height as floats in the 1024 frame, origin top left.
    """
    geometry = _geometry(phantom, seed)
    scene, attenuation = _scene(phantom, geometry, _pose(phantom, seed), seed)
    _vary(phantom, scene, seed)
    boxes: dict[str, list[tuple]] = {}
    for finding in phantom.findings:
        rng = _stream(_FINDING + FINDINGS.index(finding), seed, phantom)
        masks = _PAINTERS[finding](scene, rng)
        if finding in BOXED_FINDINGS:
            boxes[finding] = [_box(mask, rng) for mask in masks]
    attenuation -= _AIR * scene.air
    attenuation += scene.extra
    attenuation += scene.vessels * np.minimum(scene.air * 1.4, 1)
    attenuation += 0.035 * scene.texture * scene.air
    _hardware(phantom, scene, attenuation, seed)
    return _film(phantom, scene.pose, attenuation, size, seed), boxes


def _geometry(phantom: Phantom, seed: int) -> _Geometry:
    """A patient's own anatomy, breathing and view of the image, and the changes of shape that findings bring."""
    own = np.random.default_rng([_ANATOMY, seed, phantom.patient])
    now = _stream(_BREATH, seed, phantom)
    female, ap = phantom.sex == "F", phantom.view == "AP"
    half_width = own.uniform(0.345, 0.405) - 0.012 * female
    apex = own.uniform(0.08, 0.14)
    floor = own.uniform(0.67, 0.77)
    ratio = own.normal(0.435, 0.034)
    tilt = own.uniform(-0.005, 0.035)
    angle = own.uniform(0.09, 0.15)
    knob = own.uniform(0.0, 0.022) * (0.4 + min(phantom.age, 80) / 60)
    fat = own.uniform(0.03, 0.085)
    slope = own.uniform(0.05, 0.17)
    rib = own.uniform(0.068, 0.08), own.uniform(0, 0.07), own.uniform(0.1, 0.17)
    breast = own.uniform(0.15, 0.55) * female
    bone = own.uniform(0.8, 1.25) * (1.1 if phantom.age < 50 else 0.92)
    share = own.uniform(0.29, 0.36)

    breath, twist = now.normal(0, 0.014), now.normal(0, 0.012 if ap else 0.006)
    floor += breath
    if ap:
        floor -= now.uniform(0.0, 0.07)
        ratio *= now.uniform(1.04, 1.14)
    if "Cardiomegaly" in phantom.findings:
        ratio = max(ratio, 0.40) * 0.2 + now.uniform(0.425, 0.56)
    elif "Edema" in phantom.findings:
        ratio += now.uniform(0.0, 0.03)
    if "Emphysema" in phantom.findings:
        strength = now.uniform(0.3, 1)
        floor, angle, ratio = floor + 0.075 * strength, angle * (1 - 0.55 * strength), ratio - 0.075 * strength
        apex -= 0.015 * strength
    if "Fibrosis" in phantom.findings:
        floor -= now.uniform(0.0, 0.035)
    dome = [floor, floor + tilt]
    shift = 0.0
    if "Atelectasis" in phantom.findings:
        side = _side(_stream(_FINDING + FINDINGS.index("Atelectasis"), seed, phantom))
        dome[side > 0] -= now.uniform(0.015, 0.06)
        shift = side * now.uniform(0.0, 0.02)
    if "Effusion" in phantom.findings:
        side = _side(_stream(_FINDING + FINDINGS.index("Effusion"), seed, phantom))
        shift -= side * now.uniform(0.0, 0.012)
    total = ratio * 2 * half_width
    heart = (share * total - shift, (1 - share) * total + shift)
    heart_top = max(floor - 0.31 - 0.25 * (ratio - 0.45), apex + 0.16)
    domes = (dome[0], dome[1])
    return _Geometry(half_width, apex, domes, angle, heart, heart_top, knob, fat, slope, *rib, breast, bone, twist)


def _pose(phantom: Phantom, seed: int) -> _Pose:
    rng = _stream(_POSE, seed, phantom)
    own = np.random.default_rng([_BUILD, seed, phantom.patient])
    ap = phantom.view == "AP"
    angle = math.radians(rng.normal(0, 2.6 if ap else 1.2))
    scale = float(np.clip(own.normal(1.0, 0.04) + rng.normal(0, 0.02) + 0.02 * ap, 0.86, 1.1))
    spread = 0.03 if ap else 0.017
    return _Pose(angle, scale, (rng.normal(0, spread), rng.normal(0.005, spread)))


def _step(distance: np.ndarray, width: float) -> np.ndarray:
    """Smooth step from 0 to 1 as ``distance`` goes from -width to width."""
    t = np.clip(distance * np.float32(0.5 / width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def _curve(points: list[tuple[float, float]], low: float, high: float) -> np.ndarray:
    """A smooth border through the points, as a table over [low, high]."""
    at, value = np.array(points, dtype=float).T
    grid = np.linspace(low, high, _TABLE)
    return PchipInterpolator(at, value)(np.clip(grid, at[0], at[-1])).astype(np.float32)


def _index(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) * ((_TABLE - 1) / (high - low)) + 0.5, 0, _TABLE - 1).astype(np.intp)


def _smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Noise of about unit deviation whose lumps are 1/cells of the side wide; (512, 512) float32."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize((_BASE, _BASE), Image.Resampling.BICUBIC)) * np.float32(1.25)


def _scene(phantom: Phantom, g: _Geometry, pose: _Pose, seed: int) -> tuple[_Scene, np.ndarray]:
    """Healthy anatomy: the fields findings work on, and the attenuation of everything but the lungs' air."""
    axis = ((np.arange(_BASE, dtype=np.float32) + 0.5) / _BASE).astype(np.float32)
    du, dv = axis[None, :] - np.float32(0.5 + pose.shift[0]), axis[:, None] - np.float32(0.5 + pose.shift[1])
    c, s = np.float32(math.cos(pose.angle) / pose.scale), np.float32(math.sin(pose.angle) / pose.scale)
    x = c * du + s * dv
    y = np.float32(0.5) + c * dv - s * du
    ax = np.abs(x)
    cage = np.abs(x - np.float32(g.twist))  # a turned patient: the rib cage moves against the spine
    iy, ix, iax = _index(y, -0.3, 1.3), _index(x, -0.8, 0.8), _index(ax, 0, 0.8)

    def of_y(points: list[tuple[float, float]]) -> np.ndarray:
        return _curve(points, -0.3, 1.3)[iy]

    w, base = g.half_width, max(g.dome) + g.angle
    tall = base - g.apex
    wall = of_y([(g.apex + tall * t, w * q) for t, q in _WALL])
    to_wall = wall - cage
    middle = 0.40 * w
    top = _curve(
        [
            (0, g.apex + 0.1),
            (middle * 0.45, g.apex + 0.03),
            (middle, g.apex),
            (middle * 1.7, g.apex + 0.035),
            (w, g.apex + 0.16),
        ],
        0,
        0.8,
    )[iax]
    to_top = y - top
    right, left = g.dome
    deep = g.angle
    floor = _curve(
        [
            (-w * 1.03, right + deep),
            (-w * 0.93, right + deep * 0.66),
            (-w * 0.75, right + deep * 0.27),
            (-w * 0.45, right),
            (-w * 0.2, right + 0.022),
            (0, (right + left) / 2 + 0.05),
            (w * 0.27, left + 0.022),
            (w * 0.5, left),
            (w * 0.77, left + deep * 0.27),
            (w * 0.93, left + deep * 0.66),
            (w * 1.03, left + deep),
        ],
        -0.8,
        0.8,
    )[ix]
    to_floor = floor - y
    below = 0.88 * _step(to_floor, 0.006) + 0.12 * _step(to_floor + 0.05, 0.05)  # thin rim of the domes
    behind = _step(to_wall, 0.007) * _step(to_top, 0.012) * below * _step(ax - 0.035, 0.012)

    middle_mask, heart_bottom = _mediastinum(g, x, of_y)
    middle_mask = middle_mask * _step(heart_bottom - y, 0.03)
    lung = behind * (1 - middle_mask)
    depth = 0.58 + 0.42 * np.sqrt(np.clip(to_wall * (1 / 0.14), 0, 1))
    depth *= 0.62 + 0.38 * np.sqrt(np.clip(to_top * (1 / 0.22), 0, 1))
    depth *= 0.86 + 0.14 * np.clip(to_floor * (1 / 0.2), 0, 1)
    air = lung * depth

    body = _body(phantom, g, x, y, ax, of_y, iax)
    bones = _bones(g, x, y, ax, wall, to_wall, to_top, to_floor, iax)
    body += bones
    _trachea_and_stomach(phantom, g, x, y, body, seed)
    texture_rng = _stream(_TEXTURE, seed, phantom)
    coarse = [_smooth_noise(texture_rng, cells) for cells in (8, 22, 60)]
    texture = 0.8 * _smooth_noise(texture_rng, 150) + 0.6 * coarse[2] + 0.22 * coarse[1] + 0.4 * coarse[0]
    body *= 1 + 0.018 * coarse[0]
    vessels = _vessels(phantom, g, pose, seed)
    scene = _Scene(g, pose, x, y, ax, to_wall, to_top, to_floor, lung, behind, air, vessels, texture, np.zeros_like(x))
    scene.coarse = coarse
    return scene, body


def _mediastinum(g: _Geometry, x: np.ndarray, of_y: Callable) -> tuple[np.ndarray, float]:
    """Heart, great vessels and spine seen as one bright shape between the lungs; and the Y of its lower end."""
    (to_right, to_left), top = g.heart, g.heart_top
    bottom = (g.dome[0] + g.dome[1]) / 2 + 0.05
    tall = bottom - top
    right = of_y(
        [
            (-0.1, 0.085),
            (g.apex, 0.062),
            (top - 0.12, 0.054),
            (top - 0.03, 0.058),
            (top + 0.08 * tall, 0.062),
            (top + 0.35 * tall, 0.82 * to_right),
            (top + 0.58 * tall, to_right),
            (top + 0.82 * tall, 0.93 * to_right),
            (bottom, 0.72 * to_right),
        ]
    )
    left = of_y(
        [
            (-0.1, 0.085),
            (g.apex, 0.064),
            (top - 0.13, 0.054),
            (top - 0.085, 0.064 + g.knob),
            (top - 0.05, 0.064 + 0.85 * g.knob),
            (top, 0.062 + 0.25 * g.knob),
            (top + 0.1 * tall, 0.072),
            (top + 0.3 * tall, 0.3 * to_left + 0.055),
            (top + 0.55 * tall, 0.78 * to_left + 0.012),
            (top + 0.76 * tall, to_left),
            (top + 0.9 * tall, 0.95 * to_left),
            (bottom, 0.72 * to_left),
        ]
    )
    inside = np.minimum(left - x, x + right)
    # the rim of the heart is thin, lung lies in front of and behind it
    return _step(inside, 0.011) * (0.64 + 0.36 * np.sqrt(np.clip(inside * (1 / 0.11), 0, 1))), bottom


def _body(
    phantom: Phantom, g: _Geometry, x: np.ndarray, y: np.ndarray, ax: np.ndarray, of_y: Callable, iax: np.ndarray
) -> np.ndarray:
    """Attenuation of the soft tissue of neck, shoulders, trunk, arms and breasts."""
    outer = g.half_width + g.fat
    width = of_y(
        [
            (0, 0.66),
            (0.2, 0.66),
            (0.28, 0.62),
            (0.36, max(outer + 0.05, 0.47)),
            (0.45, outer + 0.012),
            (0.6, outer),
            (0.8, outer),
            (1.1, outer + 0.01),
        ]
    )
    round_ = np.sqrt(np.sqrt(np.clip(1 - np.square(x / width), 0, 1)))  # exponent 1/4: flat in front, steep at the rim
    shoulder = _curve(
        [
            (0, -0.3),
            (0.095, -0.25),
            (0.115, -0.06),
            (0.145, 0.015),
            (0.2, 0.04),
            (0.36, 0.04 + 0.5 * g.slope),
            (0.5, 0.04 + g.slope),
            (0.62, 0.1 + 1.6 * g.slope),
        ],
        0,
        0.8,
    )[iax]
    rise = np.sqrt(np.clip((y - shoulder) * (1 / 0.13), 0, 1))
    level = of_y(
        [(-0.1, 1.0), (0.05, 1.3), (0.16, 1.85), (0.3, 2.2), (0.5, 2.35), (0.68, 2.45), (0.8, 2.65), (1.1, 2.8)]
    )
    tissue = level * round_ * rise
    arm = of_y([(0.1, 0.42), (0.3, outer + 0.02), (0.45, outer + 0.05), (0.6, outer + 0.09), (0.9, outer + 0.16)])
    arms = 1.35 * np.sqrt(np.clip((ax - arm) * (1 / 0.06), 0, 1)) * _step(y - 0.22 - g.slope, 0.08)
    np.maximum(tissue, arms, out=tissue)
    if g.breast:
        down = (y - (g.dome[0] - 0.03)) * (1 / 0.17)
        across = (ax - 0.56 * g.half_width) * (1 / (0.48 * g.half_width))
        r2 = np.square(down) + np.square(across)
        tissue += g.breast * _step(1 - r2, 0.35) * (1 - 0.4 * _step(-down, 0.9))
    tissue += 0.03
    return tissue


def _bones(
    g: _Geometry,
    x: np.ndarray,
    y: np.ndarray,
    ax: np.ndarray,
    wall: np.ndarray,
    to_wall: np.ndarray,
    to_top: np.ndarray,
    to_floor: np.ndarray,
    iax: np.ndarray,
) -> np.ndarray:
    """Attenuation of ribs, collar bones, shoulder blades, upper arms and spine."""
    q = np.minimum(ax / np.maximum(wall, 0.05), 1.02)
    inside = _step(to_wall + 0.012, 0.007) * _step(to_top + 0.02, 0.02)
    # profile of a rib across its width: a body with denser rims; distances in units of the gap
    grid = np.linspace(0, 0.5, 256)
    half = 0.2
    profile = 0.62 / (1 + np.exp((grid - half) / 0.018)) + 0.5 * np.exp(-np.square((grid - half + 0.02) / 0.035))
    profile = profile.astype(np.float32)

    q2 = q * q
    back = (y - g.rib_start - g.rib_drop * (q2 * q2 * 0.75 + 0.25 * q2) + 0.05 * q * (1 - q)) * (1 / g.rib_gap)
    back -= np.rint(back)
    bones = profile[(np.abs(back) * 510).astype(np.intp)] * (0.145 * inside * _step(ax - 0.04, 0.02))
    front = (y - g.rib_start - 0.02 - g.rib_drop - 0.115 * (1 - q) - 0.06 * np.square(1 - q)) * (1 / (g.rib_gap * 1.12))
    front -= np.rint(front)
    fade = _step(q - 0.55, 0.2)
    bones += profile[(np.abs(front) * 510).astype(np.intp)] * (0.1 * inside * fade * _step(y - 0.24, 0.06))
    bones += 0.2 * np.exp(-np.square((to_wall + 0.004) * (1 / 0.012))) * _step(to_top + 0.01, 0.03)
    bones *= 0.55 + 0.45 * _step(to_floor + 0.04, 0.05)

    clavicle = _curve([(0.02, 0.215), (0.07, 0.205), (0.14, 0.178), (0.22, 0.155), (0.3, 0.152), (0.4, 0.165)], 0, 0.8)[
        iax
    ] + np.float32(g.apex - 0.1 + 0.15 * g.slope)
    off = np.abs(y - clavicle)
    ends = _step(ax - 0.03, 0.01) * _step(0.37 - ax, 0.05)
    bones += ends * (0.2 * _step(0.013 - off, 0.003) + 0.13 * np.exp(-np.square((off - 0.012) * (1 / 0.004))))

    drop = 0.12 + 0.6 * g.slope
    head = np.sqrt(np.square(ax - 0.445) + np.square(y - drop - 0.06)) * (1 / 0.05)
    bones += 0.16 * _step(1 - head, 0.16) + 0.05 * np.exp(-np.square((head - 0.94) * (1 / 0.07)))
    shaft = np.abs(ax - 0.455 - 0.12 * (y - drop - 0.06))
    bones += (0.22 * _step(0.026 - shaft, 0.004)) * _step(y - drop - 0.09, 0.02)
    blade = ax - (0.345 + 0.2 * (y - 0.2) + 0.3 * np.square(y - 0.3))
    inner = _step(y - 0.17, 0.04) * _step(0.46 - y, 0.05)
    bones += inner * 0.07 * np.exp(-np.square(blade * (1 / 0.005)))
    bones += inner * 0.07 * _step(blade, 0.006) * _step(0.06 - blade, 0.03)

    spine = _step(0.044 + 0.008 * y - ax, 0.012)
    disc = (y - 0.02) * (1 / 0.062)
    disc -= np.rint(disc)
    bones += spine * (0.3 - 0.16 * np.exp(-np.square(disc * (1 / 0.1))))
    bones += 0.05 * np.exp(-np.square((ax - 0.045) * (1 / 0.006)))
    process = np.square(x * (1 / 0.008)) + np.square(disc * (1 / 0.28))
    bones += 0.12 * np.exp(-process)
    bones *= np.float32(g.bone)
    return bones


def _trachea_and_stomach(
    phantom: Phantom, g: _Geometry, x: np.ndarray, y: np.ndarray, tissue: np.ndarray, seed: int
) -> None:
    """Take the air of windpipe, main bronchi, stomach and bowel out of the soft tissue, in place."""
    rng = _stream(_STOMACH, seed, phantom)
    carina = g.heart_top - 0.015
    pipe = np.abs(x + 0.006 + 0.02 * y) * (1 / 0.02)
    tissue -= 0.42 * _step(1 - pipe, 0.35) * _step(carina - y, 0.02)
    below = y - carina
    for side, steep in ((-1, 0.75), (1, 1.0)):
        off = np.abs(side * (x + 0.012) - below * steep) * (1 / 0.015)
        tissue -= 0.25 * _step(1 - off, 0.4) * _step(below, 0.01) * _step(0.075 - below, 0.02)
    if rng.random() < 0.75:
        cx, cy = g.half_width * rng.uniform(0.3, 0.6), g.dome[1] + rng.uniform(0.045, 0.07)
        a, b = rng.uniform(0.045, 0.095), rng.uniform(0.022, 0.045)
        r = np.sqrt(np.square((x - cx) * (1 / a)) + np.square((y - cy) * (1 / b)))
        level = cy + b * rng.uniform(0.1, 0.9)
        tissue -= rng.uniform(0.7, 1.5) * _step(1 - r, 0.12) * _step(level - y, 0.004)
    for _ in range(int(rng.integers(0, 4))):
        cx, cy, a = rng.uniform(-0.2, 0.3), max(g.dome) + rng.uniform(0.13, 0.28), rng.uniform(0.02, 0.04)
        r = np.sqrt(np.square(x - cx) + np.square((y - cy) * 1.3)) * (1 / a)
        tissue -= rng.uniform(0.4, 0.9) * _step(1 - r, 0.3)


def _vessels(phantom: Phantom, g: _Geometry, pose: _Pose, seed: int) -> np.ndarray:
    """Branching markings that leave the hila and thin out towards the wall; attenuation."""
    rng = np.random.default_rng([_VESSELS, seed, phantom.patient])
    segments = []
    hila = [(sign, sign * 0.078, g.heart_top + 0.055 - 0.015 * sign) for sign in (-1, 1)]
    for sign, hx, hy in hila:
        stack = []
        for k in range(11):
            share = 2 * (k + rng.uniform(-0.4, 0.4)) / 10 - 1
            angle = 0.15 + 1.35 * math.copysign(abs(share) ** 0.75, share)  # mostly up and down, few straight out
            stack.append((hx, hy + 0.06 * share + rng.normal(0, 0.012), angle, rng.uniform(3.5, 7.5), 0))
        while stack:
            px, py, angle, thick, order = stack.pop()
            bend = rng.normal(0, 0.1)
            for _ in range(4):
                angle += bend + rng.normal(0, 0.1)
                length = rng.uniform(0.016, 0.031)
                nx, ny = px + sign * length * math.cos(angle), py + length * math.sin(angle)
                segments.append((thick, px, py, nx, ny))
                px, py, thick = nx, ny, thick * 0.91
            if order < 4:
                stack.append((px, py, angle + rng.uniform(0.15, 0.55), thick * rng.uniform(0.65, 0.9), order + 1))
                stack.append((px, py, angle - rng.uniform(0.15, 0.5), thick * rng.uniform(0.65, 0.9), order + 1))
    segments.sort()
    values = np.array(segments)
    side = 2 * _BASE
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    ends = [*pose.to_frame(values[:, 1], values[:, 2]), *pose.to_frame(values[:, 3], values[:, 4])]
    for thick, line in zip(values[:, 0].tolist(), (np.stack(ends, axis=1) * side).tolist(), strict=True):
        pen.line(line, fill=min(255, int(70 + 17 * thick)), width=max(1, round(thick)))

    root = Image.new("L", (_BASE // 4, _BASE // 4))
    pen = ImageDraw.Draw(root)
    for sign, hx, hy in hila:
        for _ in range(9):
            y = rng.normal(0, 0.035)
            u, v = pose.to_frame(hx + sign * (rng.uniform(-0.015, 0.02) + 0.25 * max(y, 0)), hy + y)
            u, v, r = float(u) * root.width, float(v) * root.width, rng.uniform(0.9, 2.2)
            pen.ellipse((u - r, v - r, u + r, v + r), fill=int(rng.integers(90, 200)))
    root = root.filter(ImageFilter.GaussianBlur(0.9)).resize((_BASE, _BASE), Image.Resampling.BICUBIC)
    fine = _blur(np.asarray(picture.reduce(2), dtype=np.float32))
    return 0.34 / 255 * fine + 0.4 / 255 * np.asarray(root, dtype=np.float32)


def _blur(values: np.ndarray) -> np.ndarray:
    """Smooth with (1, 2, 1)/4 along both axes."""
    out = values.copy()
    out[1:-1] = 0.5 * values[1:-1] + 0.25 * (values[:-2] + values[2:])
    values = out.copy()
    out[:, 1:-1] = 0.5 * values[:, 1:-1] + 0.25 * (values[:, :-2] + values[:, 2:])
    return out


# ------------------------------------------------------------------------------------------------------------ findings
# Each painter changes the scene in place and returns one mask (512, 512) in 0..1 for every lesion a reader would box.


def _side(rng: np.random.Generator) -> int:
    """-1: the patient's right lung (left in the image), 1: the left one. Always the first draw of a painter."""
    return -1 if rng.random() < 0.5 else 1


def _place(scene: _Scene, rng: np.random.Generator, side: int, low: float, high: float) -> tuple[float, float]:
    """A point in the lung of a side; low and high are heights in it (0: apex, 1: diaphragm)."""
    g = scene.geometry
    height = rng.uniform(low, high)
    floor = g.dome[side > 0]
    y = g.apex + height * (floor - g.apex)
    outer = g.half_width * (0.55 + 0.42 * math.sqrt(min(1.0, height)))
    reach = g.heart[side > 0] if y > g.heart_top + 0.12 else 0.1
    inner = min(reach + 0.01, outer - 0.09)
    return side * rng.uniform(inner + 0.025, outer - 0.05), y


def _radius(scene: _Scene, x: float, y: float, a: float, b: float, tilt: float = 0.0) -> np.ndarray:
    """Distance from (x, y) in units of the half axes a and b of a tilted ellipse."""
    c, s = np.float32(math.cos(tilt)), np.float32(math.sin(tilt))
    dx, dy = scene.x - np.float32(x), scene.y - np.float32(y)
    return np.sqrt(np.square((c * dx + s * dy) * np.float32(1 / a)) + np.square((c * dy - s * dx) * np.float32(1 / b)))


def _fill(scene: _Scene, alpha: np.ndarray) -> None:
    """Replace a share of the air, and of the markings it shows, by fluid."""
    scene.air *= 1 - alpha


def _on_side(scene: _Scene, side: int) -> np.ndarray:
    return _step(scene.x * side, 0.005)


def _vary(phantom: Phantom, scene: _Scene, seed: int) -> None:
    """What healthy lungs differ by, so that no finding is the only source of haze, markings or darkness."""
    rng = _stream(_HEALTHY, seed, phantom)
    scene.vessels *= np.float32(rng.uniform(0.6, 1.45))
    scene.texture *= np.float32(rng.uniform(0.6, 1.4))
    scene.air *= np.float32(rng.uniform(0.9, 1.06))
    haze = rng.uniform(0, 0.22 if phantom.view == "AP" else 0.12)
    across, down = scene.side_x - np.float32(0.12), scene.y - np.float32(scene.geometry.heart_top + 0.1)
    _fill(scene, haze * np.exp(-np.square(across * (1 / 0.14)) - np.square(down * (1 / 0.2))))
    for _ in range(int(rng.integers(0, 4))):
        side = _side(rng)
        centre, axes = _place(scene, rng, side, 0.1, 1.0), (rng.uniform(0.07, 0.2), rng.uniform(0.07, 0.2))
        _fill(scene, rng.uniform(0.03, 0.2) * np.exp(-1.5 * np.square(_radius(scene, *centre, *axes))))


def _cardiomegaly(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    g = scene.geometry
    rng.random()
    across = (scene.x > -g.heart[0]) & (scene.x < g.heart[1])
    bottom = (g.dome[0] + g.dome[1]) / 2 + 0.045
    return [(across & (scene.y > g.heart_top + 0.02) & (scene.y < bottom)).astype(np.float32)]


def _effusion(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    g, sides = scene.geometry, [_side(rng)]
    if rng.random() < 0.15:
        sides.append(-sides[0])
    masks = []
    for side in sides:
        q = scene.side_x * np.float32(1 / g.half_width)
        level = g.dome[side > 0] + rng.uniform(-0.2, 0.06)
        rise = rng.uniform(0.06, 0.17)
        edge = level - rise * np.power(np.clip(q, 0, 1.05), 6) + 0.01 * scene.coarse[0]
        fluid = _step(scene.y - edge, rng.uniform(0.01, 0.03)) * _on_side(scene, side)
        masks.append(fluid * scene.behind * (q > 0.2))
        _fill(scene, rng.uniform(0.55, 0.95) * fluid)
        haze = _on_side(scene, side) * np.clip((scene.y - edge + 0.2) * (1 / 0.2), 0, 1)
        _fill(scene, rng.uniform(0.05, 0.2) * haze)
    return masks


def _atelectasis(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = _side(rng)
    x, y = _place(scene, rng, side, 0.5, 0.97) if rng.random() < 0.8 else _place(scene, rng, side, 0.15, 0.5)
    if rng.random() < 0.6:  # plate-like
        tilt = side * rng.uniform(-0.45, 0.35)
        a, b = rng.uniform(0.08, 0.16), rng.uniform(0.014, 0.034)
        r = _radius(scene, x, y, a, b, tilt) + 0.14 * scene.coarse[1]
        alpha = _step(1 - r, 0.5)
        if rng.random() < 0.5:
            second = _radius(scene, x + rng.normal(0, 0.02), y - rng.uniform(0.035, 0.06), a * 0.7, b * 0.8, tilt)
            alpha = np.maximum(alpha, 0.8 * _step(1 - second, 0.5))
    else:  # wedge with its tip towards the hilum
        dx = (scene.x * side - (abs(x) - 0.09)) * np.float32(1 / rng.uniform(0.14, 0.2))
        off = np.abs(scene.y - np.float32(y) - 0.25 * dx * 0.1)
        alpha = _step(rng.uniform(0.07, 0.11) * dx - off, 0.018) * _step(dx, 0.1) * _step(1 - dx, 0.15)
    alpha = alpha * _on_side(scene, side)
    _fill(scene, rng.uniform(0.32, 0.75) * alpha)
    around = _radius(scene, x, y, 0.16, 0.13)
    _fill(scene, 0.16 * _step(1 - around, 0.7))
    return [alpha * scene.behind]


def _patch(
    scene: _Scene,
    rng: np.random.Generator,
    side: int,
    centre: tuple[float, float],
    axes: tuple[float, float],
    lumps: np.ndarray,
) -> np.ndarray:
    """A soft, irregular ellipse kept to one side."""
    r = _radius(scene, *centre, *axes, rng.uniform(-0.5, 0.5)) + lumps
    return _step(1 - r, 0.45) * _on_side(scene, side)


def _infiltration(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    sides = [_side(rng)]
    if rng.random() < 0.2:
        sides.append(-sides[0])
    masks = []
    for side in sides:
        centre, axes = _place(scene, rng, side, 0.2, 0.95), (rng.uniform(0.06, 0.16), rng.uniform(0.08, 0.18))
        alpha = _patch(scene, rng, side, centre, axes, 0.22 * scene.coarse[1])
        lumpy = np.clip(0.78 + 0.15 * scene.coarse[0] + 0.13 * scene.coarse[1] + 0.09 * scene.coarse[2], 0, 1.2)
        _fill(scene, rng.uniform(0.24, 0.55) * alpha * lumpy)
        masks.append(alpha * scene.behind)
    return masks


def _pneumonia(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = _side(rng)
    centre, axes = _place(scene, rng, side, 0.3, 0.98), (rng.uniform(0.08, 0.17), rng.uniform(0.08, 0.17))
    alpha = _patch(scene, rng, side, centre, axes, 0.18 * scene.coarse[0])
    _fill(scene, rng.uniform(0.32, 0.68) * alpha * (0.9 + 0.1 * scene.coarse[1]))
    return [alpha * scene.behind]


def _consolidation(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = _side(rng)
    x, y = _place(scene, rng, side, 0.25, 0.85)
    axes = (rng.uniform(0.11, 0.18), rng.uniform(0.1, 0.16))
    alpha = _patch(scene, rng, side, (x, y), axes, 0.15 * scene.coarse[0])
    tilt, below = rng.uniform(-0.25, 0.25), rng.random() < 0.5
    fissure = (scene.y - np.float32(y)) - tilt * (scene.x - np.float32(x)) + (0.03 if below else -0.03)
    alpha = alpha * _step(fissure if below else -fissure, 0.004)
    tubes = np.exp(-np.square(scene.coarse[1] * (1 / 0.12)))
    _fill(scene, alpha * (rng.uniform(0.42, 0.85) - 0.15 * tubes))
    scene.vessels *= 1 - 0.6 * alpha
    return [alpha * scene.behind]


def _ball(
    scene: _Scene, rng: np.random.Generator, centre: tuple[float, float], r: float, strength: float, rough: float
) -> np.ndarray:
    """A round opacity that adds its own attenuation, so that it shows in front of other findings as well."""
    distance = _radius(scene, *centre, r * rng.uniform(0.85, 1.15), r, rng.uniform(0, 3)) + rough * scene.coarse[1]
    inside = np.sqrt(np.clip(1.12 - np.square(distance), 0, 1)) * _step(1 - distance, 0.14)
    scene.extra += np.float32(strength) * inside * np.maximum(scene.behind, 0.25)
    return _step(1 - distance, 0.14)


def _mass(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side = _side(rng)
    r = rng.uniform(0.045, 0.105)
    centre = _place(scene, rng, side, 0.15, 0.88)
    return [_ball(scene, rng, centre, r, rng.uniform(0.32, 0.85), 0.06)]


def _nodule(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    masks = []
    side = _side(rng)
    for _ in range(1 + (rng.random() < 0.15)):
        centre = _place(scene, rng, side, 0.12, 0.92)
        masks.append(_ball(scene, rng, centre, rng.uniform(0.02, 0.034), rng.uniform(0.3, 0.75), 0.03))
        side = -side
    return masks


def _pneumothorax(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side, g = _side(rng), scene.geometry
    tall = g.dome[side > 0] - g.apex
    reach = g.apex + tall * rng.uniform(0.3, 0.9)
    width = rng.uniform(0.04, 0.09)
    apical = rng.uniform(0.4, 1.5)
    gap = width * np.clip((reach - scene.y) * (1 / (0.35 * tall)), 0, 1) + 0.006 * scene.coarse[0]
    inward = np.minimum(scene.to_wall, scene.to_top * np.float32(1 / apical)) - gap
    where = _on_side(scene, side) * scene.behind
    lateral = _step(scene.side_x - rng.uniform(0.09, 0.2), 0.035)
    free = _step(-inward, 0.004) * where * lateral * _step(gap - 0.012, 0.008)
    line = np.exp(-np.square(inward * (1 / 0.0035))) * where * lateral * _step(gap - 0.016, 0.008)
    scene.vessels *= 1 - free
    scene.texture *= 1 - 0.85 * free
    scene.air += free * scene.lung * (rng.uniform(0.03, 0.1) + rng.uniform(0.2, 0.34) * np.clip(0.95 - scene.air, 0, 1))
    _fill(scene, rng.uniform(0.04, 0.2) * where * (1 - free))
    scene.extra += np.float32(rng.uniform(0.12, 0.26)) * line
    return [free]


def _edema(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    g = scene.geometry
    strength = rng.uniform(0.14, 0.5)
    y = g.heart_top + 0.1
    for side in (-1, 1):
        r = _radius(scene, side * 0.13, y, rng.uniform(0.13, 0.18), rng.uniform(0.19, 0.25), side * 0.2)
        r += 0.1 * scene.coarse[1]
        _fill(scene, strength * np.exp(-np.square(r) * 0.9) * (0.9 + 0.08 * scene.coarse[2] + 0.1 * scene.coarse[1]))
    _fill(scene, np.full_like(scene.x, rng.uniform(0, 0.08)))
    scene.vessels *= np.float32(rng.uniform(1.0, 1.4))
    return []


def _emphysema(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    rng.random()
    scene.air *= np.float32(rng.uniform(1.0, 1.1))
    np.minimum(scene.air, 1.12, out=scene.air)
    scene.vessels *= np.float32(rng.uniform(0.35, 0.8))
    scene.texture *= np.float32(rng.uniform(0.5, 0.9))
    return []


def _fibrosis(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    rng.random()
    net = np.exp(-np.square(_smooth_noise(rng, 48) * (1 / 0.2)))
    np.maximum(net, 0.8 * np.exp(-np.square(_smooth_noise(rng, 80) * (1 / 0.25))), out=net)
    g = scene.geometry
    low = np.clip((scene.y - (g.heart_top - 0.02)) * (1 / 0.28), 0, 1)
    rim = 0.35 + 0.65 * _step(0.13 - scene.to_wall, 0.09)
    where = low * rim * scene.lung
    scene.extra += np.float32(rng.uniform(0.1, 0.4)) * net * where
    _fill(scene, rng.uniform(0.0, 0.14) * where)
    return []


def _pleural_thickening(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side, g = _side(rng), scene.geometry
    sides = (side, -side) if rng.random() < 0.3 else (side,)
    for each in sides:
        thick = rng.uniform(0.016, 0.034)
        start = g.apex + rng.uniform(-0.05, 0.3)
        end = start + rng.uniform(0.22, 0.5)
        along = _step(scene.y - start, 0.04) * _step(end - scene.y, 0.04) * _on_side(scene, each)
        inner = thick * along * (1 + 0.2 * scene.coarse[0] + 0.1 * scene.coarse[1])
        rim = _step(inner - np.minimum(scene.to_wall, 0.7 * scene.to_top), 0.005) * scene.behind * along
        _fill(scene, 0.85 * rim)
        scene.extra += 0.1 * rim
    return []


def _hernia(scene: _Scene, rng: np.random.Generator) -> list[np.ndarray]:
    side, g = _side(rng), scene.geometry
    r = rng.uniform(0.05, 0.085)
    x = 0.03 * side + rng.uniform(-0.005, 0.05)
    y = (g.dome[0] + g.dome[1]) / 2 - r * rng.uniform(0.35, 0.85)
    distance = _radius(scene, x, y, r * rng.uniform(1.05, 1.4), r)
    whole = _step(1 - distance, 0.06)
    _fill(scene, rng.uniform(0.35, 0.75) * whole)
    level = y + r * rng.uniform(-0.05, 0.4)
    gas = _step(0.86 - distance, 0.07) * _step(level - scene.y, 0.004)
    scene.extra += 0.22 * whole - np.float32(rng.uniform(0.35, 1.3)) * gas
    return []


_PAINTERS: dict[str, Callable[[_Scene, np.random.Generator], list[np.ndarray]]] = {
    "Atelectasis": _atelectasis,
    "Cardiomegaly": _cardiomegaly,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
    "Mass": _mass,
    "Nodule": _nodule,
    "Pneumonia": _pneumonia,
    "Pneumothorax": _pneumothorax,
    "Consolidation": _consolidation,
    "Edema": _edema,
    "Emphysema": _emphysema,
    "Fibrosis": _fibrosis,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
}


def _box(mask: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Where a reader would draw the box: around the mask, never quite exactly; x, y, w, h in the 1024 frame."""
    seen = mask > 0.4 * mask.max()
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    unit = FRAME / _BASE
    x0, x1, y0, y1 = columns[0] * unit, (columns[-1] + 1) * unit, rows[0] * unit, (rows[-1] + 1) * unit
    dx, dy = 3 + 0.03 * (x1 - x0), 3 + 0.03 * (y1 - y0)
    x0, x1 = np.clip([x0 - rng.uniform(-0.4, 1) * dx, x1 + rng.uniform(-0.4, 1) * dx], 0, FRAME)
    y0, y1 = np.clip([y0 - rng.uniform(-0.4, 1) * dy, y1 + rng.uniform(-0.4, 1) * dy], 0, FRAME)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


# ---------------------------------------------------------------------------------------------------------------- film


def _hardware(phantom: Phantom, scene: _Scene, attenuation: np.ndarray, seed: int) -> None:
    """Cables, electrodes and tubes on some images, whatever the findings; added in place."""
    rng = _stream(_HARDWARE, seed, phantom)
    if rng.random() > (0.6 if phantom.view == "AP" else 0.12):
        return
    side = 2 * _BASE
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.uniform(-0.35, 0.35), rng.uniform(0.2, 0.6), rng.uniform(-0.55, 0.55), rng.choice([-0.05, 1.05])
        t = np.linspace(0, 1, 40)
        bow = rng.normal(0, 0.12)
        x = ends[0] + (ends[2] - ends[0]) * t + bow * np.sin(np.pi * t)
        y = ends[1] + (ends[3] - ends[1]) * t + 0.5 * bow * np.sin(2 * np.pi * t)
        u, v = scene.pose.to_frame(x, y)
        points = list(zip((u * side).tolist(), (v * side).tolist(), strict=True))
        pen.line(points, fill=150, width=int(rng.integers(2, 5)))
        r = rng.uniform(7, 14)
        cx, cy = float(u[0]) * side, float(v[0]) * side
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=190)
        pen.ellipse((cx - r / 2.5, cy - r / 2.5, cx + r / 2.5, cy + r / 2.5), fill=60)
    attenuation += np.asarray(picture.reduce(2), dtype=np.float32) * np.float32(0.7 / 255)


def _film(phantom: Phantom, pose: _Pose, attenuation: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Exposure, film curve, enlargement, quantum noise, collimator and lettering; (size, size) uint8."""
    rng = _stream(_FILM, seed, phantom)
    ap = phantom.view == "AP"
    density = rng.uniform(0.75, 1.1) if ap else rng.uniform(0.68, 1.0)
    scatter = rng.uniform(0.02, 0.12) if ap else rng.uniform(0, 0.05)
    light = 1 - np.exp(np.minimum(-density * attenuation, 0))
    light = scatter + (1 - scatter) * light
    gamma = rng.uniform(0.75, 1.15)
    low, high = rng.uniform(0, 14), rng.uniform(190, 255) if ap else rng.uniform(235, 262)
    grey = low + (high - low) * np.power(light, np.float32(gamma))
    picture = Image.fromarray(grey.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    grey = np.array(picture, dtype=np.float32)
    noise = _stream(_NOISE, seed, phantom).standard_normal((size, size), dtype=np.float32)
    noise *= np.float32(rng.uniform(1.0, 2.6) * (1.3 if ap else 1))
    grey += noise
    np.clip(grey, 0, 255, out=grey)
    pixels = grey.astype(np.uint8)
    return _marks(rng, pixels, ap)


def _marks(rng: np.random.Generator, pixels: np.ndarray, ap: bool) -> np.ndarray:
    """Collimator edges on some images and the side marker on most, as letters of lead."""
    size = len(pixels)
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    collimated, marked, lettered = rng.random(4) < 0.22, rng.random() < 0.85, rng.random() < 0.4
    margins = rng.uniform(0.005, 0.05, 4) * size * collimated
    tilts = rng.normal(0, 0.008, 4) * size * collimated
    (a, b, c, d), (ta, tb, tc, td) = margins, tilts
    for on, polygon in zip(
        collimated,
        (
            [(-1, -1), (a + ta, -1), (a - ta, size), (-1, size)],
            [(-1, -1), (size, -1), (size, b + tb), (-1, b - tb)],
            [(size, -1), (size - c + tc, -1), (size - c - tc, size), (size, size)],
            [(-1, size), (size, size), (size, size - d + td), (-1, size - d - td)],
        ),
        strict=True,
    ):
        if on:
            pen.polygon(polygon, fill=int(rng.integers(0, 6)))
    if marked:
        x, y = rng.uniform(0.84, 0.95) * size, rng.uniform(0.03, 0.16) * size
        pen.text((x, y), "L", fill=int(rng.integers(200, 256)), font=ImageFont.load_default(max(6, 0.045 * size)))
    if ap and lettered:
        font = ImageFont.load_default(max(5, 0.02 * size))
        pen.text((rng.uniform(0.03, 0.8) * size, rng.uniform(0.06, 0.12) * size), "PORTABLE", fill=235, font=font)
    return np.asarray(picture)
