"""The few numbers that stand for all boxes of an image; numpy alone, since OpenCV 4 has an environment of its own."""

import numpy as np

SHOWN = 4  # boxes
SURE = 0.001  # lowest confidence that counts


def summary(boxes: np.ndarray, confidences: np.ndarray) -> dict[str, list]:
    """boxes: (K, 5) x, y, w, h, objectness; confidences: (K, C), 0 for what an overlapping box suppressed."""
    surest = np.argsort(-boxes[:, 4], kind="stable")[:SHOWN]
    flat = np.argsort(-confidences, axis=None, kind="stable")[:SHOWN]
    rows, classes = np.unravel_index(flat, confidences.shape)
    return {
        "means": boxes.mean(axis=0).tolist(),
        "surest_rows": surest.tolist(),
        "surest": boxes[surest].tolist(),
        "found": int((confidences > SURE).sum()),
        "best": np.column_stack([rows, classes]).tolist(),
        "best_confidences": confidences[rows, classes].tolist(),
    }
