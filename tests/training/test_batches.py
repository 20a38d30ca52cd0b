"""The training stream: a pure function of seed and position, and boxes that move with the pixels."""

import numpy as np
import pytest
import torch

from cxr.boxes import FRAME
from cxr.settings import Augment
from cxr.training import batches

CPU = torch.device("cpu")


def drawn(**draws):
    """Draws (1, 8) in the middle of their ranges, but for those given as d0 to d7."""
    uniform = np.full((1, 8), 0.5)
    for name, value in draws.items():
        uniform[0, int(name[1])] = value
    return uniform


def test_pixels_become_numbers_from_0_to_1():
    pixels = np.array([[[0, 51], [102, 255]]], np.uint8)
    found = batches.as_input(pixels, CPU)
    assert found.shape == (1, 1, 2, 2) and found.dtype == torch.float32
    assert torch.allclose(found[0, 0], torch.tensor([[0.0, 0.2], [0.4, 1.0]]), atol=1e-6)
    features = torch.rand(2, 5)
    assert batches.as_input(features, CPU) is features


def test_grey_is_normalised_as_imagenets_colours():
    """Less the mean, over the standard deviation, of red, green and blue."""
    found = batches.normalised(torch.tensor([0.485, 1.0]).view(1, 1, 1, 2))
    assert found.shape == (1, 3, 1, 2)
    expected = [[0, 0.515 / 0.229], [0.029 / 0.224, 0.544 / 0.224], [0.079 / 0.225, 0.594 / 0.225]]
    assert torch.allclose(found[0, :, 0], torch.tensor(expected), atol=1e-5)


def test_every_pass_sees_every_image_once():
    seen = np.concatenate([batches.positions(10, 4, step, seed=3)[0] for step in range(5)])
    visits = np.concatenate([batches.positions(10, 4, step, seed=3)[1] for step in range(5)])
    for visit in (0, 1):
        assert sorted(seen[visits == visit]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])


def test_order_depends_on_seed_and_size_alone():
    same = [batches.positions(50, 8, 2, seed=1)[0] for _ in range(2)]
    assert (same[0] == same[1]).all()
    assert (same[0] != batches.positions(50, 8, 2, seed=2)[0]).any()


def test_draws_belong_to_image_and_visit_and_are_uniform():
    assert (batches.draws("a.png", 0, 1) == batches.draws("a.png", 0, 1)).all()
    assert (batches.draws("a.png", 0, 1) != batches.draws("a.png", 1, 1)).all()
    assert (batches.draws("a.png", 0, 1) != batches.draws("a.png", 0, 2)).all()
    assert (batches.draws("a.png", 0, 1) != batches.draws("b.png", 0, 1)).all()
    many = np.stack([batches.draws(f"{number}.png", 0, 0) for number in range(4000)])
    assert abs(many.mean(0) - 0.5).max() < 0.03
    assert many.min() >= 0 and many.max() < 1


def test_no_augmentation_leaves_pixels_alone():
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(batches.augmented(images, Augment(), np.zeros((2, 8))), images)


def test_gamma_by_hand_and_what_leaves_stays_black():
    images = torch.full((2, 1, 8, 8), 0.25)
    images[:, :, 0] = 0
    uniform = np.full((2, 8), 0.5)
    uniform[:, 7] = [1.0, 0.5]
    out = batches.augmented(images, Augment(gamma=float(np.log(2))), uniform)
    assert torch.allclose(out[0, 0, 1:-1, 1:-1], torch.tensor(0.0625), atol=1e-6)
    assert torch.allclose(out[1, 0, 1:-1, 1:-1], torch.tensor(0.25), atol=1e-6)
    assert out[:, :, 0].max() < 1e-6


def test_flips_are_exact():
    images = torch.rand(1, 1, 16, 16)
    uniform = np.full((1, 8), 0.5)
    across = batches.augmented(images, Augment(horizontal_flip=1.0), uniform)
    down = batches.augmented(images, Augment(vertical_flip=1.0), uniform)
    assert torch.allclose(across, images.flip(3), atol=1e-5)
    assert torch.allclose(down, images.flip(2), atol=1e-5)


def test_either_flip_has_a_draw_of_its_own():
    images = torch.rand(1, 1, 16, 16)
    both = Augment(horizontal_flip=0.4, vertical_flip=0.6)
    for draws, axes in (({"d4": 0.3, "d5": 0.7}, [3]), ({"d4": 0.5, "d5": 0.5}, [2]), ({"d4": 0.3, "d5": 0.5}, [2, 3])):
        found = batches.augmented(images, both, drawn(**draws))
        assert torch.allclose(found, images.flip(axes), atol=1e-5), draws


@pytest.mark.parametrize(("draw", "axis"), [("d2", 3), ("d3", 2)])
def test_a_shift_is_a_share_of_the_side_and_what_comes_in_is_black(draw, axis):
    images = torch.rand(1, 1, 16, 16) + 0.1
    found = batches.augmented(images, Augment(shift=0.25), drawn(**{draw: 1.0}))
    moved = images.roll(-4, axis)
    moved.narrow(axis, 12, 4).zero_()
    assert torch.allclose(found, moved, atol=1e-5)
    half_a_pixel = batches.augmented(images, Augment(shift=1 / 32), drawn(**{draw: 1.0}))
    between = (images + images.roll(-1, axis)) / 2
    assert torch.allclose(half_a_pixel.narrow(axis, 0, 15), between.narrow(axis, 0, 15), atol=1e-5)


def test_a_rotation_turns_by_its_degrees_and_a_zoom_scales_by_its_share():
    images = torch.rand(1, 1, 16, 16)
    turned = batches.augmented(images, Augment(rotation=90), drawn(d0=1.0))
    assert torch.allclose(turned, images.rot90(1, (2, 3)), atol=1e-5)
    other_way = batches.augmented(images, Augment(rotation=180), drawn(d0=0.25))
    assert torch.allclose(other_way, images.rot90(-1, (2, 3)), atol=1e-5)
    assert np.allclose(batches.affine(Augment(zoom=0.4), drawn(d1=1.0)), [[[1.4, 0, 0], [0, 1.4, 0]]])
    assert np.allclose(batches.affine(Augment(zoom=0.4), drawn(d1=0.25)), [[[0.8, 0, 0], [0, 0.8, 0]]])


def test_sampling_positions_are_those_of_pytorch():
    maps = torch.randn(3, 2, 3)
    theirs = torch.nn.functional.affine_grid(maps, [3, 1, 24, 40], align_corners=False)
    assert torch.allclose(batches.sampling_grid(maps, 24, 40), theirs, atol=1e-6)


def test_contrast_turns_about_grey_and_brightness_shifts():
    augment = Augment(brightness=0.4)
    images = torch.tensor([0.2, 0.5, 0.9]).view(1, 1, 1, 3)
    uniform = np.full((1, 8), 0.5)
    uniform[0, 6:8] = [1.0, 0.75]  # contrast 1 + 0.4, brightness 0.2 / 2
    found = batches.augmented(images, augment, uniform)
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
        uniform = batches.draws(f"{number}", 0, 0)[None]
        moved = batches.moved(box, batches.affine(augment, uniform)[0])[0] * side / FRAME
        rows, columns = np.nonzero(batches.augmented(image, augment, uniform)[0, 0].numpy() > 0.5)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert abs(moved - found).max() <= 2.5


def test_a_box_that_leaves_the_frame_is_cut_or_dropped():
    right = np.array([[1, 0, -1.0], [0, 1, 0]], dtype=np.float32)  # pixels move half the frame to the right
    kept = batches.moved(np.array([[400.0, 0, 600, 100], [700, 0, 900, 100]]), right)
    assert np.allclose(kept, [[912, 0, 1024, 100]])


def test_a_stream_is_the_same_after_a_restart():
    pixels = {f"{number}.png": np.full((8, 8), number, np.uint8) for number in range(6)}

    def make():
        return batches.Stream(
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


def streamed(batch, seed=0, names=("a.png", "b.png", "c.png", "d.png", "e.png")):
    """What a stream shows in its first 20 places: (image, how often it was shown before) → input (S, S)."""
    random = np.random.default_rng(0)
    pixels = {name: random.integers(0, 256, (16, 16), dtype=np.uint8) for name in names}
    augment = Augment(rotation=30, shift=0.1, brightness=0.3)
    targets = np.arange(len(names), dtype=np.float32)
    read = batches.Stream(
        names, lambda wanted: np.stack([pixels[name] for name in wanted]), targets, augment, batch, seed, CPU
    )
    shown, seen = {}, dict.fromkeys(names, 0)
    for step in range(20 // batch):
        for image, target in zip(*read(step), strict=True):
            name = names[int(target)]
            shown[name, seen[name]] = image[0]
            seen[name] += 1
    return shown, pixels


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_how_an_image_is_augmented_depends_on_its_visit_and_not_on_the_step(batch):
    """Batches of five images are whole passes, whose steps are visits; those of other sizes are not."""
    passes, _ = streamed(5)
    shown, _ = streamed(batch)
    assert shown.keys() == passes.keys() and len(shown) == 20
    for visit, image in shown.items():
        assert torch.allclose(image, passes[visit], atol=1e-6), visit
    assert not torch.allclose(shown["a.png", 0], shown["a.png", 1], atol=0.01), "each visit is another picture"
    other, _ = streamed(batch, seed=1)
    assert not any(torch.allclose(image, other[visit], atol=0.01) for visit, image in shown.items())


def test_an_image_is_augmented_alike_in_every_set():
    shown, pixels = streamed(4)
    fewer, _ = streamed(4, names=("a.png", "b.png"))
    assert torch.allclose(fewer["a.png", 2], shown["a.png", 2], atol=1e-6)
    uniform = batches.draws("b.png", 3, 0)[None]
    augment = Augment(rotation=30, shift=0.1, brightness=0.3)
    by_hand = batches.augmented(batches.as_input(pixels["b.png"][None], CPU), augment, uniform)
    assert torch.allclose(shown["b.png", 3], by_hand[0, 0], atol=1e-6)


def test_the_targets_of_a_stream_move_with_its_pixels():
    """A bright square and its box are in one place, whatever the augmentation has made of them."""
    side, box = 64, np.array([[256.0, 384.0, 448.0, 640.0]])
    pixels = np.zeros((side, side), np.uint8)
    pixels[24:40, 16:28] = 255

    def targets(indices, maps):
        return np.stack([batches.moved(box, matrix)[0] for matrix in maps]).astype(np.float32)

    augment = Augment(horizontal_flip=0.5, vertical_flip=0.5, shift=0.15, zoom=0.1)
    names = ["a.png", "b.png", "c.png"]
    stream = batches.Stream(names, lambda wanted: np.stack([pixels] * len(wanted)), targets, augment, 2, 0, CPU)
    places = set()
    for step in range(6):
        for image, corners in zip(*stream(step), strict=True):
            rows, columns = np.nonzero(image[0].numpy() > 0.5)
            found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) * FRAME / side
            assert abs(found - corners.numpy()).max() <= 2 * FRAME / side
            places.add(tuple(found))
    assert len(places) > 8


def test_batches_made_ahead_are_the_same_in_any_order_and_a_failure_is_told_when_its_step_comes():
    def stream(step):
        if step == 4:
            raise ValueError("no such step")
        return torch.full((2,), float(step)), torch.zeros(2)

    ahead = batches.Ahead(stream)
    for step in (0, 1, 2, 7, 8, 2, 3):
        assert torch.equal(ahead(step)[0], stream(step)[0])
    with pytest.raises(ValueError, match="no such step"):
        ahead(4)
    assert torch.equal(ahead(5)[0], stream(5)[0])
