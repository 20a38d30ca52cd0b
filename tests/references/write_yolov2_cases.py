"""Writes the networks and pictures that OpenCV's Darknet reader is asked about, and this package's own answers.

The reference numbers of tests/references/yolov2.json are made again like this (OpenCV 5 has no such reader):

    PYTHONPATH=workflow:tests/support .venv/bin/python tests/references/write_yolov2_cases.py /tmp/cases ../shared
    python3 -m venv /tmp/opencv4 && /tmp/opencv4/bin/pip install 'opencv-python-headless<5'
    PYTHONPATH=tests/support /tmp/opencv4/bin/python tests/references/answer_by_opencv.py /tmp/cases

The second folder holds weights/ and nih-sample/full/. The last command also prints the table of docs/detection.md.
"""

import sys
from pathlib import Path

import numpy as np
import yolov2_cases as cases

from cxr.detectors.yolov2 import darknet_weights

MANY = 20  # radiographs compared for the table; the reference numbers are of `cases.RADIOGRAPHS`


def main(folder: Path, shared: Path) -> None:
    images = sorted((shared / "nih-sample" / "full").glob("*.png"))[:MANY]
    for name in (*cases.WRITTEN, *cases.REAL):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        if name in cases.WRITTEN:
            network, text = cases.written(name), cases.cfg(name)
            darknet_weights.write(network, place / "weights")
        else:
            network, text = cases.real(name, shared / "weights"), (shared / "weights" / f"{name}.cfg").read_text()
            (place / "weights").write_bytes((shared / "weights" / f"{name}.weights").read_bytes())
        (place / "cfg").write_text(cases.shows_all(text))
        pictures = {"waves": cases.drawn(network.height)}
        pictures |= {path.name: cases.radiograph(path, network.height) for path in images}
        for picture, pixels in pictures.items():
            boxes, confidences, kept = cases.answers(network, pixels)
            np.savez(place / f"{picture}.npz", pixels=pixels, boxes=boxes, confidences=confidences, kept=kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
