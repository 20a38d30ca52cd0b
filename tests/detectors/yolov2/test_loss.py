"""The loss of the region layer, against a loop over boxes in plain numpy that gives gradients, as Darknet's does."""

import dataclasses

import numpy as np
import pytest
import torch

from cxr.detectors.yolov2.loss import loss
from cxr.detectors.yolov2.region import Region

WIDTH, HEIGHT = 4, 3
REGION = Region(
    anchors=((0.6, 0.7), (1.5, 2.5), (3.0, 1.2)),
    classes=4,
    object_scale=5.0,
    noobject_scale=0.7,
    class_scale=1.5,
    coord_scale=2.0,
    thresh=0.6,
    rescore=True,
    bias_match=True,
)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def overlap(a, b):
    """Of boxes x, y of the centre, w, h."""
    sides = [
        min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2) - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2) for k in (0, 1)
    ]
    shared = sides[0] * sides[1] if min(sides) > 0 else 0.0
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def box_at(raw, region, n, j, i):
    """raw: (A, 5 + C, H, W) of one image."""
    tx, ty, tw, th = raw[n, :4, j, i]
    (w, h) = region.anchors[n]
    return [(i + logistic(tx)) / WIDTH, (j + logistic(ty)) / HEIGHT, np.exp(tw) * w / WIDTH, np.exp(th) * h / HEIGHT]


def steps_of(raw, drawn, region, early):
    """The steps (A, 5 + C, H, W) by which an image's numbers are to change, and the loss; both box by box."""
    step, value = np.zeros_like(raw), np.zeros((len(region.anchors), HEIGHT, WIDTH, 3))  # box, objectness, class

    def towards(n, j, i, x, y, w, h, scale):
        given = [logistic(raw[n, 0, j, i]), logistic(raw[n, 1, j, i]), raw[n, 2, j, i], raw[n, 3, j, i]]
        slopes = [given[0] * (1 - given[0]), given[1] * (1 - given[1]), 1, 1]
        for k, goal in enumerate((x, y, w, h)):
            step[n, k, j, i] = scale * (goal - given[k]) * slopes[k]
        value[n, j, i, 0] = scale * sum((goal - each) ** 2 for goal, each in zip((x, y, w, h), given, strict=True)) / 2

    def sure(n, j, i, goal, scale):
        given = logistic(raw[n, 4, j, i])
        step[n, 4, j, i] = scale * (goal - given) * given * (1 - given)
        value[n, j, i, 1] = scale * (goal - given) ** 2 / 2

    for j in range(HEIGHT):
        for i in range(WIDTH):
            for n in range(len(region.anchors)):
                best = max((overlap(box_at(raw, region, n, j, i), each[1:]) for each in drawn), default=0.0)
                sure(n, j, i, 0, 0 if best > region.thresh else region.noobject_scale)
                if early:
                    towards(n, j, i, 0.5, 0.5, 0, 0, 0.01)
    for label, x, y, w, h in drawn:
        i, j = int(x * WIDTH), int(y * HEIGHT)
        sizes = [
            (a / WIDTH, b / HEIGHT) if region.bias_match else box_at(raw, region, n, j, i)[2:]
            for n, (a, b) in enumerate(region.anchors)
        ]
        n = int(np.argmax([overlap([0, 0, *size], [0, 0, w, h]) for size in sizes]))
        shared = overlap(box_at(raw, region, n, j, i), [x, y, w, h])
        (a, b) = region.anchors[n]
        goals = (x * WIDTH - i, y * HEIGHT - j, np.log(w * WIDTH / a), np.log(h * HEIGHT / b))
        towards(n, j, i, *goals, region.coord_scale * (2 - w * h))
        sure(n, j, i, shared if region.rescore else 1, region.object_scale)
        given = softmax(raw[n, 5:, j, i])
        step[n, 5:, j, i] = region.class_scale * (np.eye(region.classes)[int(label) - 1] - given)
        value[n, j, i, 2] = -region.class_scale * np.log(given[int(label) - 1])
    return step, value.sum()


def images():
    """Numbers of two images and their drawn boxes; some of these are asked of one box, some nearly predicted by another."""
    random = np.random.default_rng(3)
    raw = random.normal(0, 0.6, (2, len(REGION.anchors), 5 + REGION.classes, HEIGHT, WIDTH))
    predicted = box_at(raw[0], REGION, 2, 1, 2)
    drawn = [
        [
            (1, 0.30, 0.20, 0.15, 0.25),
            (3, 0.32, 0.22, 0.16, 0.22),  # of the same cell and anchor
            (2, 0.31, 0.21, 0.70, 0.40),  # of the same cell, another anchor
            (4, *(np.array(predicted) * [1, 1, 0.95, 1.02])),
        ],
        [(2, 0.99, 0.95, 0.02, 0.09)],
    ]
    return raw, drawn


def padded(drawn):
    truth = np.zeros((len(drawn), max(map(len, drawn)), 5))
    for place, boxes in zip(truth, drawn, strict=True):
        place[: len(boxes)] = np.reshape(boxes, (-1, 5))
    return torch.from_numpy(truth)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("rescore", [True, False])
@pytest.mark.parametrize("bias_match", [True, False])
def test_loss_and_gradient_are_those_of_a_loop_over_the_boxes(early, rescore, bias_match):
    region = dataclasses.replace(REGION, rescore=rescore, bias_match=bias_match)
    raw, drawn = images()
    numbers = torch.from_numpy(raw).flatten(1, 2).requires_grad_()
    found = loss(numbers, padded(drawn), region, early)
    found.backward()
    expected = [steps_of(each, boxes, region, early) for each, boxes in zip(raw, drawn, strict=True)]
    assert found.item() == pytest.approx(np.mean([value for _, value in expected]))
    steps = np.stack([step for step, _ in expected]) / len(raw)
    np.testing.assert_allclose(-numbers.grad.view(raw.shape), steps, atol=1e-12)


def test_a_box_that_overlaps_a_drawn_one_is_not_told_that_nothing_is_there():
    """In the case above: the loop would notice, if such a box were there at all."""
    raw, drawn = images()
    found = {
        box: max(overlap(box_at(raw[0], REGION, *box), each[1:]) for each in drawn[0])
        for box in np.ndindex(len(REGION.anchors), HEIGHT, WIDTH)
    }
    assert sum(value > REGION.thresh for value in found.values()) >= 1
    step, _ = steps_of(raw[0], drawn[0], REGION, early=False)
    asked = {tuple(box) for box in np.argwhere(step[:, 0] != 0)}
    assert len(asked) == 3, "of four drawn boxes two ask for the same"


@pytest.mark.parametrize("drawn", [[[], []], [[(1, 0.5, 0.5, 0.2, 0.2)], []]])
def test_an_image_without_a_box_asks_for_no_object(drawn):
    raw, _ = images()
    found = loss(torch.from_numpy(raw).flatten(1, 2), padded(drawn), REGION, early=True)
    expected = [steps_of(each, boxes, REGION, early=True)[1] for each, boxes in zip(raw, drawn, strict=True)]
    assert found.item() == pytest.approx(np.mean(expected))


def test_following_the_loss_ends_at_the_drawn_boxes():
    _, drawn = images()
    drawn[0].pop(0)
    numbers = torch.zeros(2, 27, HEIGHT, WIDTH, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([numbers], lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        loss(numbers, padded(drawn), REGION, early=False).backward()
        optimizer.step()
    raw = numbers.detach().view(2, 3, 9, HEIGHT, WIDTH).numpy()
    for each, boxes in zip(raw, drawn, strict=True):
        sure = np.argwhere(logistic(each[:, 4]) > 0.5)
        assert len(sure) == len(boxes)
        for label, *box in boxes:
            n, j, i = max(sure, key=lambda place: overlap(box_at(each, REGION, *place), box))
            assert overlap(box_at(each, REGION, n, j, i), box) > 0.9
            assert softmax(each[n, 5:, j, i])[label - 1] > 0.9
