"""The training stream: which images a step sees and how each is augmented, as a pure function of seed and position.

The order depends only on (seed, set size, step), and the augmentation of an image only on (seed, image, visit): not on the
network, the number of workers, or where a run was interrupted.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch.nn import functional

from cxr.boxes import FRAME
from cxr.settings import Augment

Item = TypeVar("Item")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Turn grey images (N, 1, H, W) float32 in [0, 1] into ImageNet-normalised (N, 3, H, W)."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def positions(count: int, batch: int, step: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices (batch,) into a set of `count` images and the visit number (batch,) of each, for one step.

    Passes over the set follow each other without a gap, each in its own random order, so every batch is full.
    """
    place = np.arange(step * batch, (step + 1) * batch)
    visits = place // count
    indices = np.empty(batch, dtype=np.int64)
    for visit in np.unique(visits):
        order = np.random.Generator(np.random.Philox(key=[seed, (count << 32) + int(visit)])).permutation(count)
        here = visits == visit
        indices[here] = order[place[here] % count]
    return indices, visits


def draws(image: str, visit: int, seed: int) -> np.ndarray:
    """Return 8 uniform numbers in [0, 1) that belong to this visit of this image."""
    digest = hashlib.blake2b(f"{seed}:{image}:{visit}".encode(), digest_size=64).digest()
    return np.frombuffer(digest, dtype=np.uint64) / 2.0**64


def affine(augment: Augment, uniform: np.ndarray) -> np.ndarray:
    """Return (N, 2, 3) float32 maps from output to input coordinates in [-1, 1], from (N, 8) uniform draws."""
    signed = 2 * uniform - 1
    angle = np.deg2rad(augment.rotation) * signed[:, 0]
    scale = 1 + augment.zoom * signed[:, 1]
    flip_x = np.where(uniform[:, 4] < augment.horizontal_flip, -1.0, 1.0)
    flip_y = np.where(uniform[:, 5] < augment.vertical_flip, -1.0, 1.0)
    maps = np.empty((len(uniform), 2, 3))
    maps[:, 0, 0] = flip_x * scale * np.cos(angle)
    maps[:, 0, 1] = -flip_x * scale * np.sin(angle)
    maps[:, 1, 0] = flip_y * scale * np.sin(angle)
    maps[:, 1, 1] = flip_y * scale * np.cos(angle)
    maps[:, 0, 2] = 2 * augment.shift * signed[:, 2]
    maps[:, 1, 2] = 2 * augment.shift * signed[:, 3]
    return maps.astype(np.float32)


def augmented(images: torch.Tensor, augment: Augment, uniform: np.ndarray) -> torch.Tensor:
    """Augment images (N, 1, H, W) float32 in [0, 1] by their draws (N, 8); pixels from outside the image are black."""
    if augment == Augment():
        return images
    maps = torch.from_numpy(affine(augment, uniform)).to(images.device)
    grid = sampling_grid(maps, images.shape[2], images.shape[3])
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if augment.gamma:
        exponent = torch.from_numpy(np.exp((2 * uniform[:, 7] - 1) * augment.gamma)).to(images).view(-1, 1, 1, 1)
        images = images.clamp(0, 1) ** exponent
    if augment.brightness:
        change = torch.from_numpy((2 * uniform[:, 6:8] - 1) * augment.brightness).to(images)
        contrast, brightness = change[:, 0].view(-1, 1, 1, 1), change[:, 1].view(-1, 1, 1, 1)
        images = torch.addcmul(brightness / 2 - contrast / 2, images, 1 + contrast).clamp_(0, 1)
    return images


def sampling_grid(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the (N, H, W, 2) coordinates that `functional.affine_grid` gives for maps (N, 2, 3), in a quarter of its time.

    Adds a term per column and a term per row; affine_grid multiplies matrices for every pixel.
    """
    x, y = ((2 * torch.arange(side, device=maps.device) + 1) / side - 1 for side in (width, height))
    of_column = maps[:, :, 0].view(-1, 1, 1, 2) * x.view(1, 1, width, 1)
    of_row = maps[:, :, 1].view(-1, 1, 1, 2) * y.view(1, height, 1, 1) + maps[:, :, 2].view(-1, 1, 1, 2)
    return of_column + of_row


def moved(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move boxes (K, 4) in the 1024 frame with the pixels that `augmented` moves by `matrix` (2, 3).

    A rotated box becomes its bounding box, clipped to the frame; a box wholly outside the frame is dropped.
    """
    result, kept = moved_each(boxes, matrix)
    return result[kept]


def moved_each(boxes: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every box as `moved` moves it, (K, 4), and which are kept, (K,) bool."""
    if not len(boxes):
        return boxes, np.ones(0, bool)
    x0, y0, x1, y1 = (boxes.T / FRAME) * 2 - 1
    corners = np.stack([np.stack([x0, x1, x0, x1]), np.stack([y0, y0, y1, y1])])  # (2, 4 corners, K)
    inverse = np.linalg.inv(matrix[:, :2].astype(np.float64))
    out = np.einsum("ij,jck->ick", inverse, corners - matrix[:, 2].astype(np.float64)[:, None, None])
    pixels = np.clip((out + 1) / 2 * FRAME, 0, FRAME)
    result = np.stack([pixels[0].min(0), pixels[1].min(0), pixels[0].max(0), pixels[1].max(0)], axis=1)
    return result, (result[:, 2] - result[:, 0] > 1) & (result[:, 3] - result[:, 1] > 1)


@dataclass(frozen=True)
class Stream:
    """Training batches of a set of images.

    read: function from image names to pixels (N, S, S) uint8; targets: (N, ...) float32 for the images in `names`, or a function
    from (indices, affine maps (B, 2, 3)) to the targets of an augmented batch. repeat: changes the order of the images, not
    how a visit of an image is augmented.
    """

    names: Sequence[str]
    read: Callable[[Sequence[str]], np.ndarray]
    targets: np.ndarray | Callable[[np.ndarray, np.ndarray], np.ndarray]
    augment: Augment
    batch: int
    seed: int
    device: torch.device
    repeat: int = 0

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs (B, 1, S, S) float32 in [0, 1] and targets (B, ...) of a step, on the device."""
        indices, visits = positions(len(self.names), self.batch, step, self.seed + self.repeat)
        names = [self.names[index] for index in indices]
        uniform = np.stack([draws(name, int(visit), self.seed) for name, visit in zip(names, visits, strict=True)])
        images = as_input(self.read(names), self.device)
        maps = affine(self.augment, uniform)
        targets = self.targets(indices, maps) if callable(self.targets) else self.targets[indices]
        return augmented(images, self.augment, uniform), on_device(torch.from_numpy(targets), self.device)


class Ahead:
    """A stream that prepares the next batch in a thread while the device works on this one; the batches do not change."""

    def __init__(self, stream: Callable[[int], tuple[torch.Tensor, torch.Tensor]]):
        self.stream = stream
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self.next: tuple[int, Future[tuple[torch.Tensor, torch.Tensor]]] | None = None

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        waiting, self.next = self.next, None
        batch = waiting[1].result() if waiting is not None and waiting[0] == step else self.stream(step)
        self.next = step + 1, self.thread.submit(self.stream, step + 1)
        return batch


def batches_of_one_size(items: Sequence[Item], size: int) -> Iterator[tuple[list[Item], int]]:
    """Yield batches of `size` items and how many of them count: the last batch is padded by repeating its last item.

    Kernels, and so rounding, depend on the batch size: in a smaller batch an image would get other numbers.
    """
    for start in range(0, len(items), size):
        here = list(items[start : start + size])
        yield here + here[-1:] * (size - len(here)), len(here)


def as_input(pixels: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Turn pixels (N, S, S) uint8 into (N, 1, S, S) float32 in [0, 1] on the device; a tensor already is an input."""
    if isinstance(pixels, torch.Tensor):
        return on_device(pixels, device)
    return on_device(torch.from_numpy(pixels), device).unsqueeze(1).float() / 255


def on_device(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy to the device; to a GPU from pinned memory, so that the copy runs asynchronously."""
    return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers.to(device)
