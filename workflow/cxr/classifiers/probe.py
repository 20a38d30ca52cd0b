"""Input and output of a transfer classifier's added layer on a few images: they show why a model collapses.

Everything is measured on a copy of the network; its weights and batch-norm statistics stay as they are.
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
    """Return statistics of the added layer's input and output on the named images; {} without an image.

    network: returns logits (N, 15); its last layer is `head`. batch: images at once, about as many as in training.

    - input_spread: how far the layer's input changes from image to image, relative to its length: the standard deviation
      (root of the sum of the units' variances) over the length of the mean; 0 if it is the same for all images.
    - input_deviation: how far an image's input lies from the mean input: absolute distance summed over the units, mean
      over images. A change of every weight by 1 can move the images' logits this far apart.
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
    """Return input_spread (None if the mean has length 0) and input_deviation (see `look`) of an input (N, F)."""
    mean = given.mean(0)
    moved = given - mean
    length = float(np.linalg.norm(mean))
    return {
        "input_spread": float(np.sqrt((moved**2).sum(1).mean()) / length) if length else None,
        "input_deviation": float(np.abs(moved).sum(1).mean()),
    }
