"""Asks OpenCV 4 about the cases of write_yolov2_cases.py: writes yolov2.json, and prints how far the answers are apart."""

import hashlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
from darknet_boxes import SURE, summary

RADIOGRAPHS = ("00000147_001.png", "00000180_002.png", "00001021_000.png")  # those of yolov2_cases.py
DIGITS = 8


def rounded(value):
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def main(folder: Path) -> None:
    references = {"opencv": cv2.__version__, "networks": {}}
    print("| network | pictures | boxes | difference of x, y, w, h, objectness | of confidences | detections of both |")
    print("|---|---|---|---|---|---|")
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        network = cv2.dnn.readNetFromDarknet(str(place / "cfg"), str(place / "weights"))
        found, apart, count, both = {}, np.zeros(2), 0, [0, 0]
        paths = sorted(place.glob("*.npz"))
        for path in paths:
            ours = np.load(path)
            network.setInput(ours["pixels"][None])
            theirs = network.forward()
            boxes, kept = theirs[:, :5], theirs[:, 5:]
            sure = (kept > SURE) | (ours["kept"] > SURE)
            both[0] += (sure & (kept > 0) & (ours["kept"] > 0)).sum()
            both[1] += sure.sum()
            differences = abs(boxes - ours["boxes"]).max(), abs(kept - ours["confidences"])[kept > 0].max()
            apart, count = np.maximum(apart, differences), count + len(boxes)
            if path.stem in ("waves", *RADIOGRAPHS):
                found[path.stem] = rounded(summary(boxes.astype(float), kept.astype(float)))
        weights = hashlib.sha256((place / "weights").read_bytes()).hexdigest()
        references["networks"][place.name] = {"weights_sha256": weights, "pictures": found}
        print(
            f"| {place.name} | {len(paths)} | {count:,} | {apart[0]:.1e} | {apart[1]:.1e} | {both[0]:,} of {both[1]:,} |"
        )
    path = Path(__file__).with_name("yolov2.json")
    path.write_text(json.dumps(references, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
