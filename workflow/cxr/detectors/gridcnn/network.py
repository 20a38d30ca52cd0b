"""The networks of the grid CNN: the paper's (section 2.3.4), and one with a map for each finding."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cxr import boxes as geometry
from cxr.labels import BOXED_FINDINGS

BLOCKS = 8  # residual blocks of two convolutions; 18 with the first and the last convolution
WIDEST = 8  # channels of the widest stage, as a multiple of those of the first
ENCODER = 7  # residual blocks of the finding network; 18 convolutions with the first and three on the way up
MAPS = len(BOXED_FINDINGS) + 1  # the last map is of any finding
RAREST = 2e-3  # initial confidence of a finding without a box in the training images
OUTPUTS = MAPS * geometry.GRID**2 + len(BOXED_FINDINGS)  # of the finding network


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch norm around a parameter-free shortcut (pooled, padded with zero channels)."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.extra = stride, after - before

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        shortcut = functional.avg_pool2d(hidden, self.stride) if self.stride > 1 else hidden
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        hidden = functional.relu(self.bn1(self.conv1(hidden)))
        return functional.relu(self.bn2(self.conv2(hidden)) + shortcut)


class GridNetwork(nn.Module):
    """18 convolutions with batch norm, then one fully connected layer: images (N, 1, S, S) in [0, 1] → logits (N, 16, 16).

    head `dense`: the fully connected layer sees all cells (the paper). head `convolution`: all cells share it and
    each cell has its own bias, `cell_bias` (16, 16), which starts at the mean training mask: the image-free floor.
    """

    def __init__(self, image_size: int, width: int, head: str, mean_mask: np.ndarray):
        super().__init__()
        halvings = int(math.log2(image_size // geometry.GRID))
        strides = [2 if number < halvings - 1 else 1 for number in range(BLOCKS)]
        channels = width
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks = []
        for stride in strides:
            after = min(channels * stride, width * WIDEST)
            blocks.append(Block(channels, after, stride))
            channels = after
        self.blocks = nn.Sequential(*blocks)
        narrow = 8 if head == "dense" else channels
        self.last = nn.Sequential(
            nn.Conv2d(channels, narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)
        )
        self.head = head
        cells = geometry.GRID**2
        self.fc = nn.Linear(narrow * cells, cells) if head == "dense" else nn.Linear(narrow, 1)
        if head == "convolution":
            prior = torch.from_numpy(mean_mask).float().clamp(1e-3, 1 - 1e-3)
            self.cell_bias = nn.Parameter(torch.logit(prior))
            nn.init.zeros_(self.fc.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.last(self.blocks(self.stem(images - 0.5)))
        if self.head == "dense":
            return self.fc(hidden.flatten(1)).view(-1, geometry.GRID, geometry.GRID)
        return self.fc(hidden.permute(0, 2, 3, 1)).squeeze(3) + self.cell_bias


class FindingNetwork(nn.Module):
    """A map for each boxed finding and one for any of them: 18 convolutions down to 4 × 4 cells and back up to 16 × 16.

    images (N, 1, S, S) in [0, 1] → (N, 9 · 256 + 8): logits of the maps (``BOXED_FINDINGS``, then any), then of the
    presence of each finding (``unpacked``). Grey levels are normalised per image. Each cell also sees the cell mirrored
    across the midline: most findings are one-sided. Features of the whole image shift a finding's whole map. Every cell of
    every map has its own bias, which starts at the mean training mask, `mean_masks` (9, 16, 16): the image-free floor.
    """

    def __init__(self, image_size: int, width: int, mean_masks: np.ndarray, dropout: float):
        super().__init__()
        halvings = int(math.log2(image_size // geometry.GRID)) - 1  # after the stem, down to 16 × 16 cells
        # Blocks that keep the size: one at 16 × 16 cells, one at 8 × 8, the rest at 4 × 4.
        spare = ENCODER - halvings - 2
        at_16, at_8 = min(spare, 1), min(max(spare - 1, 0), 1)
        at_4 = spare - at_16 - at_8
        self.stem = _convolution(1, width, 3, stride=2)
        self.to_16, wide_16 = _stage(width, width, [2] * halvings + [1] * at_16)
        self.to_8, wide_8 = _stage(wide_16, width, [2] + [1] * at_8)
        self.to_4, wide_4 = _stage(wide_8, width, [2] + [1] * at_4)
        self.up_8 = _convolution(wide_8 + wide_4, wide_8, 3)
        self.up_16 = _convolution(wide_16 + wide_8, wide_16, 3)
        self.last = nn.Sequential(*_convolution(2 * wide_16, wide_16, 1), nn.Dropout2d(dropout))
        self.presence = nn.Sequential(nn.Dropout(dropout), nn.Linear(wide_4, len(BOXED_FINDINGS)))
        self.maps = nn.Linear(wide_16, MAPS)
        prior = torch.from_numpy(mean_masks).float().clamp(RAREST, 1 - RAREST)
        self.cell_bias = nn.Parameter(torch.logit(prior))
        self.shift = nn.Parameter(torch.full((len(BOXED_FINDINGS),), 0.5))
        nn.init.zeros_(self.maps.weight)
        nn.init.zeros_(self.maps.bias)
        nn.init.zeros_(self.presence[1].weight)
        nn.init.zeros_(self.presence[1].bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spread = images.std((2, 3), keepdim=True) + 0.05  # 0 in a blank image
        cells_16 = self.to_16(self.stem((images - images.mean((2, 3), keepdim=True)) / spread))
        cells_8 = self.to_8(cells_16)
        cells_4 = self.to_4(cells_8)
        presence = self.presence(cells_4.mean((2, 3)))
        cells_8 = self.up_8(torch.cat([cells_8, functional.interpolate(cells_4, scale_factor=2)], 1))
        cells_16 = self.up_16(torch.cat([cells_16, functional.interpolate(cells_8, scale_factor=2)], 1))
        hidden = self.last(torch.cat([cells_16, cells_16.flip(3)], 1))
        maps = self.maps(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + self.cell_bias
        shift = functional.pad(self.shift * presence, (0, 1))  # none for the map of any finding
        maps = maps + shift[:, :, None, None]
        return torch.cat([maps.flatten(1), presence], 1)


class Members(nn.Module):
    """Finding networks from different random starts, trained on the same batches: images (N, 1, S, S) → the outputs of
    all M side by side, (N, M · (9 · 256 + 8)). They learn independently.

    test_time_flip: outside training each also sees the mirrored image; its output, mirrored back, counts as one more member.
    """

    def __init__(self, count: int, network: Callable[[], FindingNetwork], test_time_flip: bool):
        super().__init__()
        self.networks = nn.ModuleList(network() for _ in range(count))
        self.test_time_flip = test_time_flip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        outputs = [network(images) for network in self.networks]
        if self.test_time_flip and not self.training:
            outputs += [_mirrored(network(images.flip(3))) for network in self.networks]
        return torch.cat(outputs, 1)


def _convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _stage(before: int, width: int, strides: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Return residual blocks of the given strides, channels doubling with each halving, and the number of output channels."""
    blocks = []
    for stride in strides:
        after = min(before * stride, width * WIDEST)
        blocks.append(Block(before, after, stride))
        before = after
    return nn.Sequential(*blocks), before


def unpacked(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split outputs (..., 9 · 256 + 8) of ``FindingNetwork`` into logits of maps (..., 9, 16, 16) and of presence (..., 8)."""
    cells = geometry.GRID
    maps, presence = outputs.split([MAPS * cells**2, len(BOXED_FINDINGS)], -1)
    return maps.unflatten(-1, (MAPS, cells, cells)), presence


def _mirrored(outputs: torch.Tensor) -> torch.Tensor:
    maps, presence = unpacked(outputs)
    return torch.cat([maps.flip(3).flatten(1), presence], 1)
