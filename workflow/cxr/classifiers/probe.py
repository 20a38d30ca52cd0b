"""What the added layer of a transfer classifier is given and makes of it, on a few images: why a model collapses.

All of it is measured on a copy of the network: neither its weights nor its batch-norm statistics are touched.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from cxr.training.batches import as_input
from cxr.training.device import Device


@torch.no_grad()
def look(
    network: nn.Module,
    head: nn.Linear,
    names: Sequence[str],
    read: Callable[[Sequence[str]], np.ndarray | torch.Tensor],
    batch: int,
    device: Device,
) -> dict[str, float | None]:
    """Return what the added layer reads and gives on the named images; {} without an image.

    network: gives logits (N, 15), the last of its layers being `head`. batch: about as many images at once as in training.

    - input_spread: how far the layer's input changes from image to image, relative to its length: the standard deviation
      (root of the sum of the units' variances) over the length of the mean; 0 where every image gives the same.
    - input_deviation: how far an image's input lies from the mean input, sum over the units of the absolute distance,
      mean over images: so far apart can a step of 1 of every weight move the images' logits.
    - logit_spread: standard deviation over the images of a label's logit, mean over labels (network in testing mode).
    - mode_gap: mean absolute difference between a logit in training mode and in testing mode, on the same images.
    """
    if not names:
        return {}
    network, head = copy.deepcopy((network, head))
    network.to(device.torch)
    inputs: list[torch.Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    parts = np.array_split(np.array(names, dtype=object), max(1, len(names) // max(2, batch)))  # none of one image

    def logits() -> torch.Tensor:
        found = []
        for part in parts:
            with device.autocast():
                found.append(network(as_input(read(part.tolist()), device.torch)))
        return torch.cat(found).double()

    network.eval()
    tested = logits()
    handle.remove()
    network.train()
    taught = logits() if len(names) > 1 else tested
    given = torch.cat(inputs).double()
    return {
        **input_statistics(given.cpu().numpy()),
        "logit_spread": float(tested.std(0, correction=0).mean()),
        "mode_gap": float((taught - tested).abs().mean()),
    }


def input_statistics(given: np.ndarray) -> dict[str, float | None]:
    """Return input_spread (None where the mean has no length) and input_deviation (see `look`) of an input (N, F)."""
    mean = given.mean(0)
    moved = given - mean
    length = float(np.linalg.norm(mean))
    return {
        "input_spread": float(np.sqrt((moved**2).sum(1).mean()) / length) if length else None,
        "input_deviation": float(np.abs(moved).sum(1).mean()),
    }
