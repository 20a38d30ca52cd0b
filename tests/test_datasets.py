"""The training stream: a pure function of seed and position, and boxes that move with the pixels."""

import numpy as np
import pytest
import torch

from cxr import datasets
from cxr.boxes import FRAME
from cxr.settings import Augment

CPU = torch.device("cpu")


def test_every_pass_sees_every_image_once():
    seen = np.concatenate([datasets.positions(10, 4, step, seed=3)[0] for step in range(5)])
    visits = np.concatenate([datasets.positions(10, 4, step, seed=3)[1] for step in range(5)])
    for visit in (0, 1):
        assert sorted(seen[visits == visit]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])


def test_order_depends_on_seed_and_size_alone():
    same = [datasets.positions(50, 8, 2, seed=1)[0] for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert (same[0] != datasets.positions(50, 8, 2, seed=2)[0]).any()


def test_draws_belong_to_image_and_visit_and_are_uniform():
    assert (datasets.draws("a.png", 0, 1) == datasets.draws("a.png", 0, 1)).all()
    assert (datasets.draws("a.png", 0, 1) != datasets.draws("a.png", 1, 1)).all()
    many = np.stack([datasets.draws(f"{number}.png", 0, 0) for number in range(4000)])
    assert abs(many.mean(0) - 0.5).max() < 0.03
    assert many.min() >= 0 and many.max() < 1


def test_no_augmentation_leaves_pixels_alone():
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(datasets.augmented(images, Augment(), np.zeros((2, 8))), images)


def test_gamma_by_hand_and_what_leaves_stays_black():
    images = torch.full((2, 1, 8, 8), 0.25)
    images[:, :, 0] = 0
    uniform = np.full((2, 8), 0.5)
    uniform[:, 7] = [1.0, 0.5]
    out = datasets.augmented(images, Augment(gamma=float(np.log(2))), uniform)
    assert torch.allclose(out[0, 0, 1:-1, 1:-1], torch.tensor(0.0625), atol=1e-6)
    assert torch.allclose(out[1, 0, 1:-1, 1:-1], torch.tensor(0.25), atol=1e-6)
    assert out[:, :, 0].max() < 1e-6


def test_flips_are_exact():
    images = torch.rand(1, 1, 16, 16)
    uniform = np.full((1, 8), 0.5)
    across = datasets.augmented(images, Augment(horizontal_flip=1.0), uniform)
    down = datasets.augmented(images, Augment(vertical_flip=1.0), uniform)
    assert torch.allclose(across, images.flip(3), atol=1e-5)
    assert torch.allclose(down, images.flip(2), atol=1e-5)


def test_sampling_positions_are_those_of_pytorch():
    maps = torch.randn(3, 2, 3)
    theirs = torch.nn.functional.affine_grid(maps, [3, 1, 24, 40], align_corners=False)
    assert torch.allclose(datasets.sampling_grid(maps, 24, 40), theirs, atol=1e-6)


def test_contrast_turns_about_grey_and_brightness_shifts():
    augment = Augment(brightness=0.4)
    images = torch.tensor([0.2, 0.5, 0.9]).view(1, 1, 1, 3)
    uniform = np.full((1, 8), 0.5)
    uniform[0, 6:8] = [1.0, 0.75]  # contrast 1 + 0.4, brightness 0.2 / 2
    found = datasets.augmented(images, augment, uniform)
    expected = torch.tensor([0.5 - 0.3 * 1.4 + 0.1, 0.6, 1.0]).view(1, 1, 1, 3)
    assert torch.allclose(found, expected, atol=1e-6)


def test_boxes_move_with_the_pixels():
    """A bright square, moved as pixels and as a box, stays in the same place."""
    augment = Augment(horizontal_flip=0.5, vertical_flip=0.5, rotation=8, shift=0.1, zoom=0.15)
    side, box = 128, np.array([[300.0, 400.0, 460.0, 600.0]])
    image = torch.zeros(1, 1, side, side)
    x0, y0, x1, y1 = (box[0] * side / FRAME).astype(int)
    image[..., y0:y1, x0:x1] = 1
    for number in range(20):
        uniform = datasets.draws(f"{number}", 0, 0)[None]
        moved = datasets.moved(box, datasets.affine(augment, uniform)[0])[0] * side / FRAME
        rows, columns = np.nonzero(datasets.augmented(image, augment, uniform)[0, 0].numpy() > 0.5)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert abs(moved - found).max() <= 2.5


def test_a_box_that_leaves_the_frame_is_cut_or_dropped():
    right = np.array([[1, 0, -1.0], [0, 1, 0]], dtype=np.float32)  # pixels move half the frame to the right
    kept = datasets.moved(np.array([[400.0, 0, 600, 100], [700, 0, 900, 100]]), right)
    assert np.allclose(kept, [[912, 0, 1024, 100]])


def test_a_stream_is_the_same_after_a_restart():
    pixels = {f"{number}.png": np.full((8, 8), number, np.uint8) for number in range(6)}

    def make():
        return datasets.Stream(
            names=list(pixels),
            read=lambda names: np.stack([pixels[name] for name in names]),
            targets=np.arange(6, dtype=np.float32),
            augment=Augment(rotation=5, brightness=0.2),
            batch=4,
            seed=0,
            device=CPU,
        )

    first, again = make(), make()
    [first(step) for step in range(3)]
    for mine, other in zip(first(3), again(3), strict=True):
        assert torch.equal(mine, other)


def test_batches_made_ahead_are_the_same_in_any_order_and_a_failure_is_told_when_its_step_comes():
    def stream(step):
        if step == 4:
            raise ValueError("no such step")
        return torch.full((2,), float(step)), torch.zeros(2)

    ahead = datasets.Ahead(stream)
    for step in (0, 1, 2, 7, 8, 2, 3):
        assert torch.equal(ahead(step)[0], stream(step)[0])
    with pytest.raises(ValueError, match="no such step"):
        ahead(4)
    assert torch.equal(ahead(5)[0], stream(5)[0])
