import numpy as np
import pytest

from cxr.phantoms import textures


def test_shapes_types_and_balance() -> None:
    pictures, classes = textures.draw(images=45, side=48, seed=0)
    assert pictures.shape == (45, 48, 48) and pictures.dtype == np.uint8
    assert classes.shape == (45,) and classes.dtype == np.int64
    counts = np.bincount(classes, minlength=textures.N_CLASSES)
    assert len(counts) == textures.N_CLASSES == len(set(textures.CLASSES)) == 20
    assert set(counts) == {2, 3}


def test_seed_decides_everything() -> None:
    first, second, other = (textures.draw(images=20, side=32, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[1], other[1])


def test_a_seed_draws_other_pictures_of_a_class_too() -> None:
    first, second = (textures.draw(images=60, side=32, seed=seed) for seed in (4, 5))
    alike = np.flatnonzero(first[1] == second[1])
    assert len(alike) and not any(np.array_equal(first[0][k], second[0][k]) for k in alike)


def test_no_picture_is_flat_and_none_repeats() -> None:
    pictures, classes = textures.draw(images=80, side=48, seed=1)
    for index, name in enumerate(textures.CLASSES):
        chosen = pictures[classes == index]
        assert len({picture.tobytes() for picture in chosen}) == 4, name
        assert chosen.std(axis=(1, 2)).min() > 2, name


def test_classes_differ_in_spectrum() -> None:
    pictures, classes = textures.draw(images=200, side=64, seed=2)
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None, :])
    power = np.abs(np.fft.rfft2(pictures - pictures.mean(axis=(1, 2), keepdims=True))) ** 2
    middle = (power * frequency).sum(axis=(1, 2)) / power.sum(axis=(1, 2))

    def of(name: str) -> float:
        return float(np.median(middle[classes == textures.CLASSES.index(name)]))

    assert of("coarse grating") < of("fine grating")
    assert of("large blobs") < of("small blobs")
    assert of("cloudy noise") < of("rough noise")


@pytest.mark.parametrize(("images", "side"), [(0, 32), (4, 8)])
def test_impossible_sizes_are_refused(images: int, side: int) -> None:
    with pytest.raises(ValueError, match="textures"):
        textures.draw(images=images, side=side, seed=0)
