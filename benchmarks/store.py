"""Training images read per second: our cache beside decoding each PNG in every epoch, in turn, in one run.

Draws phantoms into a temporary folder, builds a store of them, and reads the same images both ways. Prints both rates and
their ratio. Usage: PYTHONPATH=workflow python benchmarks/store.py [--images 60]
"""

import argparse
import tempfile
import time
from pathlib import Path

import lines
import numpy as np
from PIL import Image

from cxr.data import image_cache, image_files, image_store
from cxr.phantoms import data_set

SIDE = 224
BATCH = 32
ROUNDS = 3


def from_cache(store: image_store.ImageStore, names: list[str]) -> int:
    return sum(len(store.read(names[start : start + BATCH])) for start in range(0, len(names), BATCH))


def from_png(root: Path, paths: dict[str, str], names: list[str]) -> int:
    count = 0
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        pictures = [Image.open(root / paths[name]).convert("L").resize((SIDE, SIDE)) for name in batch]
        count += len(np.stack([np.asarray(picture) for picture in pictures]))
    return count


def rate(read, *arguments) -> float:
    began = time.perf_counter()
    count = read(*arguments)
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60)
    lines.option(parser)
    options = parser.parse_args()
    count = options.images
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data_set.write_data_set(root, patients=count // 2, images=count, boxed=count // 3, size=1024, seed=0, workers=2)
        paths = {name: found[0] for name, found in image_files.find_images(root)[0].items()}
        began = time.perf_counter()
        index = image_cache.update_store(
            root, paths, [], image_cache.ImageCache(root / "store", SIDE, SIDE), workers=2, progress=lambda *_: None
        )
        built = time.perf_counter() - began
        store = image_store.open_store(root / "store", index, SIDE, "all", print)
        names = sorted(paths)
        pairs = [(rate(from_cache, store, names), rate(from_png, root, paths, names)) for _ in range(ROUNDS)]
    print(f"{count} images of 1024 px, read at {SIDE} px in batches of {BATCH}; cache built once in {built:.1f} s")
    for ours, theirs in pairs:
        print(f"cache {ours:10.0f} images/s   PNG each time {theirs:8.1f} images/s   ratio {ours / theirs:8.1f}")
    ratio = np.median([ours / theirs for ours, theirs in pairs])
    print(f"median ratio {ratio:.1f}")
    ours, theirs = np.median(pairs, axis=0)
    lines.add(options.lines, "reading images", "images/s", ours, theirs, "Pillow, PNG each time, one core", ratio)


if __name__ == "__main__":
    main()
