"""The classifiers: which part of a ResNet is trained, what the added layer reads, and where the frozen part ends."""

from typing import Literal

import torch
from torch import nn

from cxr.errors import InputError
from cxr.training.batches import normalised
from cxr.training.resnet import ResNet, resnet

SOURCE_CLASSES = 1000  # outputs of the source network's last layer, as in ImageNet


def parametered_layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the leaf modules with parameters, in definition order: ResNet50 has 107 (53 conv, 53 batch norm, 1 fc)."""
    return [
        (name, module)
        for name, module in network.named_modules()
        if not list(module.children()) and list(module.parameters(recurse=False))
    ]


def stages(network: ResNet) -> list[tuple[str, list[nn.Module]]]:
    """Return name and modules of each consecutive part of a ResNet, up to the pooled features.

    Each part takes one tensor, so training can start at any of them. ResNet50: stem, 16 blocks, pooled.
    """
    blocks = [
        (f"layer{number}.{place}", [block])
        for number in range(1, 5)
        for place, block in enumerate(getattr(network, f"layer{number}"))
    ]
    stem = [network.conv1, network.bn1, network.relu, network.maxpool]
    return [("stem", stem), *blocks, ("pooled", [network.avgpool, nn.Flatten(1)])]


def frozen_stages(network: ResNet, layers: int) -> list[str]:
    """Return the names of the leading stages none of whose layers are among the last `layers` parametered ones."""
    parametered = parametered_layers(network)
    trained = {id(module) for _, module in parametered[len(parametered) - layers :]}
    names = []
    for name, modules in stages(network):
        if any(id(inner) in trained for module in modules for inner in module.modules()):
            break
        names.append(name)
    return names


def run_stages(network: ResNet, hidden: torch.Tensor, after: str | None, until: str | None) -> torch.Tensor:
    """Run the stages after `after` (None: from images (N, 3, H, W)) up to and including `until` (None: to the end)."""
    parts = stages(network)
    names = [name for name, _ in parts]
    first = 0 if after is None else names.index(after) + 1
    last = len(parts) if until is None else names.index(until) + 1
    for _, modules in parts[first:last]:
        for module in modules:
            hidden = module(hidden)
    return hidden


class Classifier(nn.Module):
    """A ResNet with 15 outputs, trained whole: grey images (N, 1, H, W) in [0, 1] → logits (N, 15)."""

    def __init__(self, name: str, outputs: int):
        super().__init__()
        self.backbone = resnet(name, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.backbone(normalised(images))


class TransferClassifier(nn.Module):
    """A pre-trained ResNet of which the last c parametered layers and an added 15-way layer are trained.

    The added layer reads the 1000-way layer's softmax (the paper's text), its logits, or the pooled features; in the
    last case the 1000-way layer still counts as layer 1 of c but receives no gradient. Source: paper, section 2.2.

    frozen_batchnorm: the statistics that frozen batch norm normalises with. eval: the source's. batch: the batch's in
    training; in testing the stored ones, which training goes on updating. keras: the batch's in training, the source's in
    testing (as frozen layers did from Keras 2.1.3 until TensorFlow 2).

    head_init: the added layer's first weights, uniform. torch: weights and biases within ±1/√inputs. glorot: weights within
    ±√(6 / (inputs + outputs)), biases 0, as Keras' Dense (Glorot and Bengio 2010).

    `shared` names the stages before everything that training can change. There are none if frozen batch norm normalises
    with the batch: the output of frozen stages then depends on the other images of the step.
    """

    def __init__(
        self,
        backbone: ResNet,
        layers: int,
        outputs: int,
        head_input: Literal["softmax", "logits", "features"],
        frozen_batchnorm: Literal["eval", "batch", "keras"],
        head_init: Literal["torch", "glorot"] = "torch",
    ):
        super().__init__()
        parametered = parametered_layers(backbone)
        if layers > len(parametered):
            raise InputError(
                f"transfer.layers (or leakage.layers) has c = {layers}, but the network has only {len(parametered)} parametered "
                f"layers; choose values from 0 to {len(parametered)}"
            )
        self.backbone = backbone
        self.head_input = head_input
        self.frozen_batchnorm = frozen_batchnorm
        fc: nn.Linear = backbone.fc
        self.head = nn.Linear(fc.in_features if head_input == "features" else fc.out_features, outputs)
        if head_init == "glorot":
            nn.init.xavier_uniform_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        trained = {id(module) for _, module in parametered[len(parametered) - layers :]}
        self.frozen = [module for _, module in parametered if id(module) not in trained]
        for module in self.frozen:
            module.requires_grad_(False)
            if frozen_batchnorm == "keras" and isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0  # batches do not change the stored statistics
        self.shared = frozen_stages(backbone, layers) if frozen_batchnorm == "eval" else []

    def train(self, mode: bool = True) -> "TransferClassifier":
        super().train(mode)
        if self.frozen_batchnorm == "eval":
            for module in self.frozen:
                module.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.tail(normalised(images), None)

    def tail(self, hidden: torch.Tensor, after: str | None) -> torch.Tensor:
        """Return logits (N, 15) from the output of the stage `after`; None: from normalised images."""
        pooled = run_stages(self.backbone, hidden, after, None)
        if self.head_input == "features":
            return self.head(pooled)
        logits = self.backbone.fc(pooled)
        return self.head(logits.softmax(1) if self.head_input == "softmax" else logits)


class Tail(nn.Module):
    """A transfer classifier that reads stored features of a stage instead of images."""

    def __init__(self, model: TransferClassifier, after: str):
        super().__init__()
        self.model, self.after = model, after

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.model.tail(hidden, self.after)
