"""Splits: which images are for training, validation and test.

Every choice depends on a hash of the seed and a name, never on the position in a table or the number of images. So
adding images moves no other image to another role (where settings limit a role's number of images, new images can push
others past the limit), and a set of one size is part of every larger set.
"""

import hashlib
import re
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from cxr.boxes import CORNERS, format_box_text
from cxr.data import tables
from cxr.errors import InputError
from cxr.labels import LABELS, SEPARATOR
from cxr.settings import Split

ROLES = ("train", "validation", "test")
SPLIT_COLUMNS = ["image", "patient", "labels", "digest"]
IMAGE_COLUMNS = ["image", "patient", "digest"]
METADATA = ["follow_up", "age", "sex", "view"]
METADATA_COLUMNS = ["image", "patient", *METADATA]
BOX_SPLIT_COLUMNS = [*SPLIT_COLUMNS, "boxes"]
LIST_FIELDS = re.compile(r"[,;\t]|\s+(?=[01](?:\s|$))")  # what separates the fields of an official list's line
LIST_HEADERS = frozenset(["imageindex", "image", "images", "imageid", "imagename", "filename", "file", "name"])
LEAKAGE_COLUMNS = ["role_a", "role_b", "images_shared", "patients_shared", "patients_a", "patients_b"]


def place(seed: int, identity: str) -> float:
    """The place of a name in a random order: uniform in [0, 1), from the blake2b hash of seed and name alone."""
    digest = hashlib.blake2b(f"{seed}/{identity}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def classification_split(
    records: pd.DataFrame,
    settings: Split,
    *,
    size: int,
    seed: int,
    draw: int = 0,
    official_train: set[str] | None = None,
    official_test: set[str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Split usable records (at least the columns ``SPLIT_COLUMNS``) into the roles train, validation and test.

    settings.rule "image" (the paper's): images at random, patients may cross; a set of size s holds s images over all
    roles, in the given shares (``role_counts``). "patient": patients at random. "official": test is the release's test
    list, the other patients go to train and validation at random. For these two rules, validation and test are the same
    for every size, and size s is the first s training images: one image of every patient before the second of any, so s
    images come from as many patients as possible. size 0: all images. Where settings limit validation or test, the first
    images in order are used. draw: number of an independent draw of the training images from the same role; validation
    and test are the same for every draw.

    Returns a table with the columns ``SPLIT_COLUMNS`` for each of ``ROLES``, in the order of ``_image_order``: a prefix
    of the table of every larger size. Raises InputError if the size is larger than the data, a role is empty, or the
    official lists do not fit the records or each other.
    """
    rule, validation, test = settings.rule, settings.validation, settings.test
    roles = {
        "image": lambda: _drawn_roles(records["image"], seed, validation, test),
        "patient": lambda: _drawn_roles(records["patient"], seed, validation, test),
        "official": lambda: _official_roles(records, seed, validation, official_train, official_test),
    }[rule]()
    order = _image_order(records, seed, by_patient=rule != "image")
    split = {role: records.iloc[order[roles[order] == role]] for role in ROLES}
    if draw:
        redrawn = _image_order(records, seed, by_patient=rule != "image", purpose=f"order/{draw}")
        split["train"] = records.iloc[redrawn[roles[redrawn] == "train"]]
    available = {role: len(rows) for role, rows in split.items()}
    for role, count in available.items():
        if not count:
            raise InputError(
                f"split rule '{rule}': {role} gets no image ({len(records)} usable images of "
                f"{records['patient'].nunique()} patients); use more images, or larger shares for validation and test"
            )
    counts = available
    if size and rule == "image":
        counts = _counts_of_size(size, validation, test, available)
    elif size:
        if size > available["train"]:
            raise InputError(
                f"size {size} is larger than the data: split rule '{rule}' leaves {available['train']} training images "
                f"of {len(records)}; the largest possible size is {available['train']}"
            )
        counts = available | {"train": size}
    limits = {"train": 0, "validation": settings.max_validation, "test": settings.max_test}
    counts = {role: min(count, limits[role] or count) for role, count in counts.items()}
    return {role: split[role].head(counts[role])[SPLIT_COLUMNS].reset_index(drop=True) for role in ROLES}


def role_counts(size: int, validation: float, test: float) -> dict[str, int]:
    """Return how many images of a set of this size each role gets.

    Exactly the shares if these are whole numbers (800, 100, 100 of 1000 at 0.1 and 0.1), else within one image of them,
    and never fewer than in a smaller set: Webster's method. Rounding each share by itself would not ensure this (at 0.1
    and 0.1 a set of 14 images would get two test images, one of 15 only one).
    """
    return _apportion(size, validation, test, dict.fromkeys(ROLES, size))


def _apportion(size: int, validation: float, test: float, available: Mapping[str, int]) -> dict[str, int]:
    """Assign images one by one to the role furthest behind its share; stop early if that role has none left."""
    weights = {"train": 1 - validation - test, "validation": validation, "test": test}
    parts = {role: round(weight * 1_000_000) for role, weight in weights.items()}  # integers: exact ties
    counts = dict.fromkeys(ROLES, 0)
    for _ in range(size):
        behind = max(ROLES, key=lambda role: parts[role] / (2 * counts[role] + 1))
        if counts[behind] == available[behind]:
            break
        counts[behind] += 1
    return counts


def _counts_of_size(size: int, validation: float, test: float, available: Mapping[str, int]) -> dict[str, int]:
    counts = _apportion(size, validation, test, available)
    largest = sum(counts.values())
    if largest < size:
        wanted = role_counts(size, validation, test)
        short = [
            f"{wanted[role]} {role} images ({available[role]} available)"
            for role in ROLES
            if wanted[role] > available[role]
        ]
        raise InputError(
            f"size {size} is larger than the data ({sum(available.values())} usable images): it needs "
            f"{' and '.join(short)}; the largest possible size is {largest}"
        )
    for role, share in (("validation", validation), ("test", test)):
        if not counts[role]:
            raise InputError(
                f"size {size} leaves {role} without an image at the share {share}; choose a larger size or share"
            )
    return counts


def _places(names: pd.Series, seed: int, purpose: str) -> np.ndarray:
    """Places of names, (N,) float64 in [0, 1); independent of those for any other purpose."""
    codes, distinct = pd.factorize(names)
    return np.array([place(seed, f"{purpose}/{name}") for name in distinct], dtype=np.float64)[codes]


def _image_order(records: pd.DataFrame, seed: int, by_patient: bool, purpose: str = "order") -> np.ndarray:
    """Row numbers, (N,) int: images in hash order; by patient, the first image in hash order of each patient, then the
    second of each, and so on, each time with the patients in hash order. Another purpose gives an independent order.
    """
    names = records[["image", "patient"]].reset_index(drop=True)
    ordered = names.assign(place=_places(names["image"], seed, purpose)).sort_values(["place", "image"])
    if by_patient:
        turns = ordered.groupby("patient").cumcount()
        patients = _places(ordered["patient"], seed, purpose)
        ordered = ordered.assign(turn=turns, patient_place=patients).sort_values(["turn", "patient_place", "place"])
    return ordered.index.to_numpy()


def _drawn_roles(names: pd.Series, seed: int, validation: float, test: float) -> np.ndarray:
    places = _places(names, seed, "role")
    return np.select([places < test, places < test + validation], ["test", "validation"], "train")


def _official_roles(
    records: pd.DataFrame,
    seed: int,
    validation: float,
    official_train: set[str] | None,
    official_test: set[str] | None,
) -> np.ndarray:
    if official_test is None:
        raise InputError("split rule 'official' needs the release's test list: set data.test_list")
    images, patients = records["image"], records["patient"]
    in_test = images.isin(official_test)
    in_train = ~in_test if official_train is None else images.isin(official_train)
    neither = images[~in_test & ~in_train]
    if len(neither):
        raise InputError(
            f"split rule 'official': {len(neither)} usable images are in neither official list (the first: "
            f"{neither.iloc[0]}); data.train_val_list and data.test_list must name every image"
        )
    both = np.intersect1d(patients[in_train], patients[in_test])
    if len(both):
        raise InputError(
            f"split rule 'official': {len(both)} patients are in both official lists (the first: {both[0]}); "
            "data.train_val_list and data.test_list must not share patients"
        )
    return np.where(in_test, "test", _drawn_roles(patients, seed, validation, test=0.0))


def box_split(
    boxes_all: pd.DataFrame,
    usable: pd.DataFrame,
    *,
    seed: int,
    validation: float,
    test: float,
    group: str,
) -> dict[str, pd.DataFrame]:
    """Split the boxed images into train, validation and test, uniformly over the labels (paper, section 1.1.2).

    boxes_all: the whole box list; the split is computed over all of it, so that images added to the folder later move no
    other. usable: records with a digest; only these are returned. An image, or all of a patient's images (group "image"
    or "patient"), counts for the rarest of its boxed labels; of each label's images the first in hash order are test,
    the next validation, the rest train. The numbers of images follow the shares to within one image per label and
    exactly in sum for group "image"; to within half a patient per label for group "patient". validation 0: the test
    images serve for validation too.

    Returns a table with the columns ``BOX_SPLIT_COLUMNS`` for each of ``ROLES``: labels are those of the image's boxes,
    boxes the text of ``format_box_text``. Raises InputError if a role has no usable image, or if the patient of an
    image is unknown for group "patient".
    """
    members = _boxed_members(boxes_all, usable, seed, group)
    sizes = members.groupby("stratum").size()
    test_quotas, validation_quotas = _quotas(sizes, test), _quotas(sizes, validation)
    roles = np.full(len(members), "train", dtype=object)
    for stratum, rows in members.groupby("stratum"):
        starts = _starts(rows["group"])
        tested = _cut(starts, test_quotas[stratum])
        held_out = _cut(starts, tested + validation_quotas[stratum])
        roles[rows.index[:held_out]] = "validation"
        roles[rows.index[:tested]] = "test"
    return _box_roles(members.assign(role=roles), boxes_all, usable, "box split", copy_test=validation == 0)


def box_folds(
    boxes_all: pd.DataFrame,
    usable: pd.DataFrame,
    *,
    folds: int,
    seed: int,
    validation: float,
    test: float,
    group: str,
) -> list[dict[str, pd.DataFrame]]:
    """Split the boxed images into folds, each with a train, a validation and a test part; every image is tested once.

    folds 1: the single split of ``box_split``, with its share `test`. More: `test` is not used. The groups (these and
    the other arguments: see ``box_split``) go one by one to the fold with the least of their rarest label, the rarest
    labels first, a label's groups in hash order; so a label with fewer groups than folds is tested in some folds only.
    A fold's validation images are the share `validation` of all images, label by label, drawn from the images that the
    fold does not test, in an order of its own.

    Returns a ``box_split`` for each fold. Raises InputError as ``box_split`` does, if there are fewer groups than folds,
    and if `validation` is 0, because the test images would then select the model that they test.
    """
    if folds == 1:
        return [box_split(boxes_all, usable, seed=seed, validation=validation, test=test, group=group)]
    if validation == 0:
        raise InputError(f"box_folds = {folds} needs validation images besides the test images: set box_validation")
    members = _boxed_members(boxes_all, usable, seed, group)
    if members["group"].nunique() < folds:
        raise InputError(
            f"box_folds = {folds} is more than the {members['group'].nunique()} {group}s with boxes; set fewer folds, or "
            "add boxed images"
        )
    members["fold"] = _dealt(members, folds)
    quotas = _quotas(members.groupby("stratum").size(), validation)
    return [
        _box_roles(_of_fold(members, fold, seed, quotas), boxes_all, usable, f"box fold {fold}")
        for fold in range(folds)
    ]


def _dealt(members: pd.DataFrame, folds: int) -> np.ndarray:
    """The fold, (N,) int, that tests each member, assigned from the rarest stratum on; see ``box_folds``."""
    dealt = np.zeros(len(members), dtype=int)
    total = np.zeros(folds, dtype=int)
    for rows in sorted((rows for _, rows in members.groupby("stratum")), key=len):
        of_label = np.zeros(folds, dtype=int)
        for _, group in rows.groupby("group", sort=False):  # in order of their first rows
            fold = min(range(folds), key=lambda fold: (of_label[fold], total[fold], fold))
            dealt[group.index] = fold
            of_label[fold] += len(group)
            total[fold] += len(group)
    return dealt


def _of_fold(members: pd.DataFrame, fold: int, seed: int, quotas: Mapping[int, int]) -> pd.DataFrame:
    """Members with their role in a fold."""
    roles = pd.Series(np.where(members["fold"] == fold, "test", "train"), index=members.index)
    rest = members[members["fold"] != fold].assign(turn=lambda rows: _places(rows["group"], seed, f"boxes/{fold}"))
    for stratum, rows in rest.sort_values(["turn", "image"]).groupby("stratum"):
        roles[rows.index[: _cut(_starts(rows["group"]), quotas[stratum])]] = "validation"
    return members.assign(role=roles)


def _boxed_members(boxes_all: pd.DataFrame, usable: pd.DataFrame, seed: int, group: str) -> pd.DataFrame:
    """Every image of the box list with its group, stratum (the group's rarest label) and place; sorted by these two."""
    images = np.unique(boxes_all["image"].to_numpy(dtype=str))
    groups = images if group == "image" else _patients_of(images, usable)
    members = pd.DataFrame({"image": images, "group": groups})
    members["stratum"] = members["group"].map(_rarest_labels(boxes_all.merge(members, on="image")))
    members["place"] = _places(members["group"], seed, "boxes")
    return members.sort_values(["stratum", "place", "image"], ignore_index=True)


def _box_roles(
    members: pd.DataFrame, boxes_all: pd.DataFrame, usable: pd.DataFrame, what: str, copy_test: bool = False
) -> dict[str, pd.DataFrame]:
    """The usable members of each role, with their labels and box text, in hash order."""
    kept = members.merge(usable[["image", "patient", "digest"]], on="image")
    kept = kept.merge(_describe(boxes_all[boxes_all["image"].isin(kept["image"])]), on="image")
    kept = kept.sort_values(["place", "image"])
    parts = {role: kept.loc[kept["role"] == role, BOX_SPLIT_COLUMNS].reset_index(drop=True) for role in ROLES}
    if copy_test:
        parts["validation"] = parts["test"].copy()
    for role, rows in parts.items():
        if rows.empty:
            raise InputError(
                f"{what}: {role} gets no usable boxed image ({len(kept)} of the box list's {len(members)} images "
                "are usable); add boxed images, raise box_validation and box_test, or lower box_folds"
            )
    return parts


def _patients_of(images: np.ndarray, usable: pd.DataFrame) -> np.ndarray:
    """Patients from the release's file names, patient_followup.png: the table may lack some boxed images."""
    matches = [re.match(r"(\d{8})_\d+\.", image) for image in images]
    odd = [image for image, match in zip(images, matches, strict=True) if match is None]
    if odd:
        raise InputError(
            f"box split by patient: the image name '{odd[0]}' does not begin with the patient's eight digits and '_'; "
            "rename the images, or set box_group to image"
        )
    named = pd.Series([int(match[1]) for match in matches if match], index=images)
    known = usable.set_index("image")["patient"]
    known = known[known.index.isin(images)]
    wrong = known[known != named.reindex(known.index)]
    if len(wrong):
        raise InputError(
            f"box split by patient: image '{wrong.index[0]}' belongs to patient {wrong.iloc[0]} in the label table, but "
            f"to {named[wrong.index[0]]} by its name; rename the images, or set box_group to image"
        )
    return named.to_numpy()


def _rarest_labels(boxes: pd.DataFrame) -> pd.Series:
    """The index, in ``LABELS``, of each group's boxed label with the fewest images (in a tie the later one)."""
    images = boxes.drop_duplicates(["image", "label"]).groupby("label").size()
    rarest_first = sorted(images.index, key=lambda label: (images[label], -LABELS.index(label)))
    rank = boxes["label"].map({label: at for at, label in enumerate(rarest_first)})
    return rank.groupby(boxes["group"]).min().map(lambda at: LABELS.index(rarest_first[at]))


def _quotas(sizes: pd.Series, share: float) -> dict[int, int]:
    """A share of each stratum in whole images that sum to that share of all: the largest remainders are rounded up."""
    exact = sizes * share
    whole = np.floor(exact + 1e-9).astype(int)
    missing = round(float(exact.sum())) - int(whole.sum())
    up = (exact - whole).sort_values(ascending=False, kind="stable").index[: max(missing, 0)]
    return {stratum: int(whole[stratum]) + int(stratum in up) for stratum in sizes.index}


def _starts(groups: pd.Series) -> np.ndarray:
    """Which rows are the first of a group, (N,) bool; the rows of a group are adjacent."""
    return groups.ne(groups.shift()).to_numpy()


def _cut(starts: np.ndarray, quota: int) -> int:
    """The number of rows nearest to a quota that splits no group; starts: (N,) bool, the first row of each group."""
    ends = np.append(np.flatnonzero(starts), len(starts))
    return int(ends[np.abs(ends - quota).argmin()])


def _describe(boxes: pd.DataFrame) -> pd.DataFrame:
    """Labels and box text of each image, independent of the order of the rows."""
    ranked = boxes.assign(rank=boxes["label"].map(LABELS.index)).sort_values(["image", "rank", *CORNERS])
    drawn: dict[str, list[tuple]] = {}
    for image, *box in ranked[["image", "label", *CORNERS]].itertuples(index=False, name=None):
        drawn.setdefault(image, []).append(tuple(box))
    labels = [SEPARATOR.join(dict.fromkeys(box[0] for box in each)) for each in drawn.values()]
    texts = [format_box_text(each) for each in drawn.values()]
    return pd.DataFrame({"image": list(drawn), "labels": labels, "boxes": texts}, dtype="str")


def leakage(splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count the images and patients that each pair of roles shares; columns ``LEAKAGE_COLUMNS``."""
    images = {role: set(rows["image"]) for role, rows in splits.items()}
    patients = {role: set(rows["patient"]) for role, rows in splits.items()}
    pairs = [
        (a, b, len(images[a] & images[b]), len(patients[a] & patients[b]), len(patients[a]), len(patients[b]))
        for a, b in combinations(splits, 2)
    ]
    return pd.DataFrame(pairs, columns=LEAKAGE_COLUMNS)


def write_split(split: pd.DataFrame, path: str | Path) -> None:
    """Write one role of a split as CSV; the same rows give the same bytes."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    split.to_csv(path, index=False, lineterminator="\n")


def read_split(path: str | Path) -> pd.DataFrame:
    """Read a file of ``write_split``: patient int64, all else text. Raises InputError if it is not such a file."""
    try:
        split = pd.read_csv(path, dtype="str", keep_default_na=False)
        columns = [*SPLIT_COLUMNS, *(name for name in BOX_SPLIT_COLUMNS[len(SPLIT_COLUMNS) :] if name in split)]
        return split[columns].astype({"patient": np.int64})
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is not a split file ({error}); delete it and run the splits again") from None


def read_images(path: str | Path) -> pd.DataFrame:
    """Read a file of images to predict (image, patient int64, digest): a split without labels and boxes."""
    try:
        return pd.read_csv(path, dtype={"image": "str", "patient": np.int64, "digest": "str"}, usecols=IMAGE_COLUMNS)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not a list of images ({error}); delete it and run the splits again") from None


def read_metadata(path: str | Path) -> pd.DataFrame:
    """Read what is known of a split's images besides labels: ``METADATA_COLUMNS``, age and follow_up float64 (missing: NaN),
    sex and view as text (missing: "").
    """
    numbers = {"follow_up": np.float64, "age": np.float64}
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False)[METADATA_COLUMNS]
        return table.replace({name: {"": "nan"} for name in numbers}).astype({"patient": np.int64, **numbers})
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is not a split's metadata ({error}); delete it and run the splits again") from None


def read_image_list(path: str | Path) -> set[str]:
    """Read an official list as ``inspect_image_list`` does; return the names alone."""
    return inspect_image_list(path)[0]


def inspect_image_list(path: str | Path) -> tuple[set[str], tuple[str, ...]]:
    """Read an official list, one image per line: canonical names, and notes on what was read differently.

    Blank lines are skipped. If the first line names columns, the image column counts; else numbers beside a name are
    ignored (lists saved as tables have them, and so have lists with labels as 0 and 1). Raises InputError if the file
    is not such a list, or a line does not tell which image it names.
    """
    path = Path(path)
    text = tables.read_text(path, "a list of image names, one per line, like the release's test_list.txt")
    lines = {number: line for number, line in enumerate(text.content.splitlines(), 1) if line.strip()}
    fields = {number: [part.strip(" '\"") for part in LIST_FIELDS.split(line)] for number, line in lines.items()}
    header = next(iter(fields.values()), [])
    column = next((at for at, name in enumerate(header) if tables.reduced(name) in LIST_HEADERS), None)
    named = {
        number: [it for it in parts if it and not it.isdecimal()]
        if column is None
        else [it for it in parts[column : column + 1] if it]
        for number, parts in fields.items()
    }
    if len(named) > 1 and (column is not None or not next(iter(named.values()))):
        del named[next(iter(named))]
    if not named:
        raise InputError(f"{path}: is empty; expected one image name per line, as in the release's test_list.txt")
    for number, names in named.items():
        if len(names) != 1:
            said = " and ".join(f"'{name}'" for name in names) or "none"
            raise InputError(
                f"{path}: line {number} should hold one image name, but holds {said}; keep one name per line"
            )
    texts = pd.Series({number: names[0] for number, names in named.items()}, dtype="str")
    tables.require_ascii(path, text, texts, "the name of an image")
    images, notes = tables.image_names(path.name, texts)
    return set(images), (*text.notes, *notes)
