"""Darknet networks as torch modules, built from the sections of a cfg."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from cxr.detectors.yolov2.configuration import Section
from cxr.detectors.yolov2.region import Region

SLOPE = 0.1  # of a leaky activation below 0
EPSILON = 1e-6  # that batch norms add to a variance
MEMORY = 0.01  # share of a new batch in a running mean
ACTIVATIONS = {"leaky": SLOPE, "linear": 1.0}


class Convolutional(nn.Module):
    """A convolution, its batch norm where it has one, and its activation."""

    def __init__(self, channels: int, section: Section):
        super().__init__()
        size, filters = section.whole("size", 1, least=1), section.whole("filters", 1, least=1)
        normalised = bool(section.whole("batch_normalize", 0))
        margin = size // 2 if section.whole("pad", 0) else section.whole("padding", 0)
        self.conv = nn.Conv2d(channels, filters, size, section.whole("stride", 1, least=1), margin, bias=not normalised)
        self.norm = nn.BatchNorm2d(filters, eps=EPSILON, momentum=MEMORY) if normalised else None
        activation = section.options.get("activation", "logistic")  # Darknet's default
        if activation not in ACTIVATIONS:
            raise section.error(f"activation={activation}: known here are {' and '.join(ACTIVATIONS)}")
        self.slope = ACTIVATIONS[activation]
        nn.init.kaiming_normal_(self.conv.weight)  # as Darknet starts
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        maps = self.conv(maps)
        if self.norm is not None:
            maps = self.norm(maps)
        return maps if self.slope == 1 else functional.leaky_relu(maps, self.slope)


class MaxPool(nn.Module):
    """The maximum over windows. Darknet's windows reach `size` - 1 pixels beyond the map, half of them (rounded down) before it."""

    def __init__(self, section: Section):
        super().__init__()
        self.stride = section.whole("stride", 1, least=1)
        self.size = section.whole("size", self.stride, least=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        before = (self.size - 1) // 2
        below, right = (self.beyond(side, before) for side in maps.shape[2:])
        if before or below or right:  # a copy of the map, which halving an even side does not need
            maps = functional.pad(maps, (before, right, before, below), value=-torch.inf)
        return functional.max_pool2d(maps, self.size, self.stride)

    def beyond(self, side: int, before: int) -> int:
        """Return by how many pixels the last window reaches beyond a side."""
        last = (side - 1) // self.stride * self.stride
        return max(0, last + self.size - before - side)


class Reorg(nn.Module):
    """Darknet's reorganisation (N, C, H, W) → (N, C·s², H/s, W/s).

    Darknet reads the memory of the map as if it were (C/s², H·s, W·s) and moves the pixels of each s × s block of that to
    channels. So the channels of a result do not hold what the paper's text says, but the published weights belong to this order.
    """

    def __init__(self, section: Section):
        super().__init__()
        self.stride = section.whole("stride", 1, least=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        count, channels, height, width = maps.shape
        step = self.stride
        blocks = maps.contiguous().view(count, channels // step**2, height, step, width, step)
        return blocks.permute(0, 3, 5, 1, 2, 4).reshape(count, channels * step**2, height // step, width // step)


class Route(nn.Module):
    """The outputs of earlier layers (absolute numbers), one after the other in their channels."""

    def __init__(self, layers: Sequence[int]):
        super().__init__()
        self.layers = tuple(layers)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        return maps[0] if len(maps) == 1 else torch.cat(list(maps), dim=1)


class Darknet(nn.Module):
    """A network of Darknet: colour images (N, 3, H, W) float32 in [0, 1] → (N, A·(5 + C), H/32, W/32) before the region layer.

    layers[k] is layer k of the cfg, counted as Darknet counts, from 0 behind [net]. region: the last section. channels, height,
    width: of the images that the cfg asks for. Raises InputError, naming file and line, for sections that do not fit together.
    """

    def __init__(self, sections: Sequence[Section]):
        super().__init__()
        net, *body, last = sections
        self.height, self.width = (net.whole(name, least=1) for name in ("height", "width"))
        self.channels = net.whole("channels", 3, least=1)
        self.region = Region.of(last)
        shapes = [(self.channels, self.height, self.width)]  # of the input and of each layer
        self.layers = nn.ModuleList()
        for section in body:
            layer, shape = _layer(section, shapes)
            self.layers.append(layer)
            shapes.append(shape)
        if shapes[-1][0] != self.region.filters:
            raise last.error(
                f"{len(self.region.anchors)} anchors and {self.region.classes} classes need {self.region.filters} filters "
                f"before them, num · (5 + classes), but there are {shapes[-1][0]}"
            )
        self.routed = {number for layer in self.layers if isinstance(layer, Route) for number in layer.layers}

    @property
    def convolutions(self) -> dict[int, Convolutional]:
        """The convolutions by number of layer, in the order of the cfg."""
        return {number: layer for number, layer in enumerate(self.layers) if isinstance(layer, Convolutional)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kept: dict[int, torch.Tensor] = {}
        maps = images
        for number, layer in enumerate(self.layers):
            maps = layer([kept[each] for each in layer.layers] if isinstance(layer, Route) else maps)
            if number in self.routed:
                kept[number] = maps
        return maps


Shape = tuple[int, int, int]  # channels, height, width


def _layer(section: Section, shapes: Sequence[Shape]) -> tuple[nn.Module, Shape]:
    """Return the layer of a section and the shape of its output. shapes: of the input and of each layer before it."""
    channels, height, width = shapes[-1]
    if section.kind == "convolutional":
        convolution = Convolutional(channels, section)
        size, margin, stride = (each[0] for each in _geometry(convolution.conv))
        sides = [(side + 2 * margin - size) // stride + 1 for side in (height, width)]
        return convolution, (convolution.conv.out_channels, *sides)
    if section.kind == "maxpool":
        pool = MaxPool(section)
        return pool, (channels, *((side - 1) // pool.stride + 1 for side in (height, width)))
    if section.kind == "reorg":
        reorg = Reorg(section)
        if channels % reorg.stride**2 or height % reorg.stride or width % reorg.stride:
            raise section.error(f"stride={reorg.stride} does not divide a map of {channels} × {height} × {width}")
        return reorg, (channels * reorg.stride**2, height // reorg.stride, width // reorg.stride)
    if section.kind == "route":
        return _route(section, shapes)
    raise section.error("a region layer must be the last section")


def _geometry(conv: nn.Conv2d) -> tuple[tuple[int, ...], ...]:
    return conv.kernel_size, conv.padding, conv.stride


def _route(section: Section, shapes: Sequence[Shape]) -> tuple[Route, Shape]:
    """A number below 0 counts back from the section."""
    here = len(shapes) - 1
    layers = [int(number) + (here if number < 0 else 0) for number in section.reals("layers")]
    if not all(0 <= number < here for number in layers):
        raise section.error(f"layers={section.options['layers']} names a layer that is not before layer {here}")
    found = [shapes[number + 1] for number in layers]
    if len({shape[1:] for shape in found}) > 1:
        raise section.error(f"layers={section.options['layers']} have maps of different sizes: {found}")
    return Route(layers), (sum(shape[0] for shape in found), *found[0][1:])
