"""The patients of a set of phantoms, what each image shows, and its random numbers.

Prevalences are higher than in the release, so that small sets have support. Random numbers of an image depend only on
seed, patient and follow-up, those of a finding also on the finding, so an image can be drawn with and without it.
"""

import math
from dataclasses import dataclass

import numpy as np

from cxr.errors import InputError
from cxr.labels import BOXED_FINDINGS, FINDINGS

_TEST_PER_BOXED = 1.32  # images in the test list per boxed image
_NO_FINDING_TRAIN, _NO_FINDING_TEST = 0.62, 0.70  # share of No Finding among images without boxes
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
# Companions of a leading finding, and how often they occur.
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
# One stream of random numbers per purpose; ANATOMY, BUILD, VESSELS and KEPT belong to the patient, the rest to the
# image.
ANATOMY, BUILD, VESSELS, BREATH, POSE, STOMACH, TEXTURE, HEALTHY = range(2, 10)
FILM, HARDWARE, NOISE, RGBA, DETECTOR, KEPT = range(10, 16)
FINDING = 100  # + index of the finding


@dataclass(frozen=True)
class Phantom:
    """One image of the set before it is drawn.

    age: years; sex: "M" or "F"; view: "PA" or "AP"; findings: in the order of ``FINDINGS``, empty for No Finding;
    boxed: the findings with boxes in the box list; test: whether the image is in the test list.
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

    def stream(self, kind: int, seed: int) -> np.random.Generator:
        """Return the image's own random numbers for one purpose."""
        return np.random.default_rng([kind, seed, self.patient, self.follow_up])


def plan(*, patients: int, images: int, boxed: int, seed: int) -> list[Phantom]:
    """Decide who is in the set and what each image shows, without drawing anything.

    Every patient has at least one image; exactly ``boxed`` images have boxes, all from patients in the test list.
    Follow-ups often share the leading finding. Raises InputError if the three numbers do not fit together.
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
    """Take patients in random order until they have enough images for the boxes and a reserve; leave one for training."""
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
            f"phantoms: the patients of the test list have {total} images, but {boxed} should have boxes; "
            "raise phantoms.patients or lower phantoms.boxed"
        )
    return chosen


def _chosen_in_runs(rng: np.random.Generator, slots: list, count: int) -> list:
    """Choose images, often several of the same patient; return them in the order of the slots."""
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
    ordered = [f for f in FINDINGS if f in found]  # a set's order differs between processes; draws need a fixed one
    boxes = {f for f in ordered if f in BOXED_FINDINGS and (f == leading or rng.random() < 0.15)} if boxed else set()
    return tuple(ordered), tuple(f for f in ordered if f in boxes)
