"""The 15 labels of ChestX-ray14, in the order of the paper's output nodes."""

import re
from collections.abc import Iterable

import numpy as np

NO_FINDING = "No Finding"
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
LABELS = (*FINDINGS, NO_FINDING)
BOXED_FINDINGS = FINDINGS[:8]  # the findings BBox_List_2017.csv draws boxes for
BOX_ALIASES = {"Infiltrate": "Infiltration"}  # the box list's own spelling
SEPARATOR = "|"


_SPELLINGS = {
    **{re.sub(r"[\s_-]", "", label.lower()): label for label in LABELS},
    **{alias.lower(): label for alias, label in BOX_ALIASES.items()},
    "nofindings": NO_FINDING,
}


def official_label(text: str) -> str:
    """Return the label that a text spells, ignoring case, blanks and underscores; "" if it is none of the 15.

    The box list's own "Infiltrate" is Infiltration.
    """
    return _SPELLINGS.get(re.sub(r"[\s_-]", "", text.lower()), "")


def to_matrix(labels: Iterable[str]) -> np.ndarray:
    """Turn ``"Effusion|Mass"`` strings into a (N, 15) uint8 indicator matrix in the order of ``LABELS``.

    Raises KeyError for a label outside the 15; `data.label_list` rejects such rows before this is called.
    """
    column = {label: index for index, label in enumerate(LABELS)}
    rows = list(labels)
    matrix = np.zeros((len(rows), len(LABELS)), dtype=np.uint8)
    for row, text in enumerate(rows):
        for label in text.split(SEPARATOR):
            matrix[row, column[label]] = 1
    return matrix
