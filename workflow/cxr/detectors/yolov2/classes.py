"""The names of a Darknet network's classes, which its files do not hold."""

from collections.abc import Sequence

from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights

COCO = 80  # classes
NO_CLASSES = ("__background__", "N/A")  # in torchvision's list, which otherwise has Darknet's order


def names(classes: int) -> Sequence[str]:
    """Return the names of the classes of a network: of COCO's where there are as many, else class 1, class 2, …"""
    if classes != COCO:
        return [f"class {number}" for number in range(1, classes + 1)]
    known = RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return [name for name in known if name not in NO_CLASSES]
