"""The networks of the YOLOv2 paper, written as Darknet cfgs for any number of classes and any anchors.

Source: Redmon and Farhadi, YOLO9000: Better, Faster, Stronger (CVPR 2017), table 6 (Darknet-19) and section 2 (three further
3×3 convolutions of 1024 filters, the passthrough of the 26×26 features, 5 anchors); the tiny network is the one published with it.
"""

from collections.abc import Sequence

COCO_ANCHORS = (
    0.57273,
    0.677385,
    1.87446,
    2.06253,
    3.33843,
    5.47434,
    7.88282,
    3.52778,
    9.77052,
    9.16828,
)  # of the authors
SIDE = 416  # pixels, of the input
CELL = 32  # pixels, side of a cell of the region layer: the networks halve an image five times
# Filters of each convolution, 3×3 or (negative) 1×1; M a maximum over 2×2 that halves the map, S one that does not.
DARKNET19 = "32 M 64 M 128 -64 128 M 256 -128 256 M 512 -256 512 -256 512 M 1024 -512 1024 -512 1024"
TINY = "16 M 32 M 64 M 128 M 256 M 512 S 1024 512"
PASSTHROUGH = "[route]\nlayers=-9\n\n{narrow}[reorg]\nstride=2\n\n[route]\nlayers=-1,-4\n"
NAMES = ("yolov2", "yolov2-tiny")


def cfg(name: str, classes: int, anchors: Sequence[float] = COCO_ANCHORS, side: int = SIDE) -> str:
    """Return the cfg text of a network in `NAMES`.

    anchors: width and height of each, in cells of `CELL` pixels. side: of the input, in pixels.
    """
    if name == "yolov2-tiny":
        parts = [_layer(word) for word in TINY.split()]
    else:
        parts = [_layer(word) for word in f"{DARKNET19} 1024 1024".split()]
        parts += [PASSTHROUGH.format(narrow=_layer("-64") + "\n"), _layer("1024")]
    filters = len(anchors) // 2 * (5 + classes)
    parts += [f"[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation=linear\n"]
    return "\n".join([_net(side), *parts, _region(classes, anchors)])


def _net(side: int) -> str:
    return f"[net]\nbatch=1\nsubdivisions=1\nwidth={side}\nheight={side}\nchannels=3\n"


def _layer(word: str) -> str:
    if word in "MS":
        return f"[maxpool]\nsize=2\nstride={2 if word == 'M' else 1}\n"
    filters = int(word)
    size = 3 if filters > 0 else 1
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={abs(filters)}\nsize={size}\nstride=1\npad=1\nactivation=leaky\n"
    )


def _region(classes: int, anchors: Sequence[float]) -> str:
    """Return the region layer with the scales of the loss that the authors used for COCO."""
    return (
        f"[region]\nanchors={','.join(f'{number:g}' for number in anchors)}\nbias_match=1\nclasses={classes}\ncoords=4\n"
        f"num={len(anchors) // 2}\nsoftmax=1\nrescore=1\n"
        "object_scale=5\nnoobject_scale=1\nclass_scale=1\ncoord_scale=1\nthresh=0.6\n"
    )
