"""The region layer: from the last convolution's numbers to boxes.

Source: Redmon and Farhadi (2017), section 2, "Direct location prediction": for a cell at (i, j) and an anchor of width p,
x = (i + σ(tx)) / cells, w = p · exp(tw) / cells, objectness σ(to), classes by a softmax.
"""

from dataclasses import dataclass

import torch

from cxr.detectors.yolov2.configuration import Section

COORDINATES = 5  # x, y, w, h, objectness


@dataclass(frozen=True)
class Region:
    """What a [region] section says. anchors: (width, height) in cells; the rest are the terms of the loss (`loss`)."""

    anchors: tuple[tuple[float, float], ...]
    classes: int
    object_scale: float
    noobject_scale: float
    class_scale: float
    coord_scale: float
    thresh: float
    rescore: bool
    bias_match: bool

    @property
    def filters(self) -> int:
        """Number of filters of the convolution before it."""
        return len(self.anchors) * (COORDINATES + self.classes)

    @classmethod
    def of(cls, section: Section) -> "Region":
        """Read a section. Raises InputError for kinds of region layers that are not carried out here."""
        count = section.whole("num", 1, least=1)
        numbers = section.reals("anchors", count=2 * count)
        if min(numbers) <= 0:
            raise section.error("anchors: widths and heights must be above 0")
        if section.whole("coords", 4) != 4 or section.whole("softmax", 0) != 1:
            raise section.error("only coords=4 and softmax=1 are known here")
        scales = ("object_scale", "noobject_scale", "class_scale", "coord_scale")
        return cls(
            tuple(zip(numbers[::2], numbers[1::2], strict=True)),
            section.whole("classes", 20, least=1),
            *(section.real(name, 1.0) for name in scales),
            section.real("thresh", 0.5),
            bool(section.whole("rescore", 0)),
            bool(section.whole("bias_match", 0)),
        )


def split(raw: torch.Tensor, region: Region) -> torch.Tensor:
    """Turn the last convolution's (N, A·(5 + C), H, W) into (N, H, W, A, 5 + C)."""
    count, _, height, width = raw.shape
    return raw.view(count, len(region.anchors), -1, height, width).permute(0, 3, 4, 1, 2)


def located(raw: torch.Tensor, region: Region) -> torch.Tensor:
    """Return the boxes (N, H, W, A, 4) of `split` numbers: x, y of the centre, width, height, as fractions of the image."""
    height, width = raw.shape[1:3]
    x = torch.arange(width, device=raw.device, dtype=raw.dtype).view(1, 1, width, 1)
    y = torch.arange(height, device=raw.device, dtype=raw.dtype).view(1, height, 1, 1)
    anchors = torch.tensor(region.anchors, device=raw.device, dtype=raw.dtype)
    return torch.stack(
        [
            (x + raw[..., 0].sigmoid()) / width,
            (y + raw[..., 1].sigmoid()) / height,
            raw[..., 2].exp() * anchors[:, 0] / width,
            raw[..., 3].exp() * anchors[:, 1] / height,
        ],
        dim=-1,
    )


def decoded(raw: torch.Tensor, region: Region) -> torch.Tensor:
    """Turn the last convolution's (N, A·(5 + C), H, W) into boxes (N, H·W·A, 5 + C), row by row, anchors last.

    A box is x, y, w, h as in `located`, objectness, and the probabilities of the classes if there is an object. The confidence
    in a class is the product of the two.
    """
    numbers = split(raw, region)
    boxes = torch.cat(
        [
            located(numbers, region),
            numbers[..., 4:COORDINATES].sigmoid(),
            numbers[..., COORDINATES:].softmax(-1),
        ],
        dim=-1,
    )
    return boxes.flatten(1, 3)
