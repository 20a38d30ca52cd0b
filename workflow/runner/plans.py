"""Which transfer jobs a protocol asks for: pairs (c, s), their repeats, bundles of them, the choices that are compared.

A repeat is named by a suffix of the pair's name. "": the first training of a pair. "_r<k>": the k-th repeat, with training
images and a seed of its own. "_seed<k>": the same training images as the first, with the seed of repeat k.
"""

from cxr.settings import GridCNN, Protocol, Transfer

BUNDLE = 10  # at most this many pairs of one size share a cluster job
DRAWN, RESEEDED = "_r", "_seed"
VARIANTS = (
    "mse_all",
    "l1_all",
    "cosine_all",
    "mse_fewer",
)  # of the grid CNN: loss, and on all or fewer training images

Pair = tuple[int, int]  # c trainable layers, s images
Trained = tuple[int, int, str]  # c, s, repeat


def baseline_size(protocol: Protocol) -> str:
    """Return the split that the baselines are trained on: a number of images, or all."""
    return str(protocol.baseline.size or "all")


def sizes(protocol: Protocol) -> list[str]:
    """Return the sizes of all splits of classifiers, each once."""
    wanted = [*protocol.transfer.sizes, baseline_size(protocol), *protocol.transfer.comparison.sizes]
    return list(dict.fromkeys(map(str, wanted)))


def pairs(protocol: Protocol) -> list[Pair]:
    """Return the pairs of the grid."""
    return [(layers, size) for layers in protocol.transfer.layers for size in protocol.transfer.sizes]


def draw_of(repeat: str) -> str:
    """Return the suffix of the split that a repeat is trained on."""
    return repeat if repeat.startswith(DRAWN) else ""


def number_of(repeat: str) -> int:
    """Return the number of a repeat, which it adds to the study's seed: 0 for the first training."""
    return int(repeat.removeprefix(DRAWN).removeprefix(RESEEDED) or 0)


def draws(transfer: Transfer) -> list[str]:
    """Return the repeats that draw training images: the first, and each with images of its own."""
    return ["", *(f"{DRAWN}{number}" for number in range(1, transfer.repeats))]


def depths(transfer: Transfer) -> dict[str, list[int]]:
    """Return repeat → the depths c that are trained in it.

    Every depth is trained in every draw. The seed alone changes at the smallest and the largest depth: enough to tell the
    seed's share of the spread from that of the images drawn.
    """
    ends = sorted({transfer.layers[0], transfer.layers[-1]})
    return {
        **dict.fromkeys(draws(transfer), transfer.layers),
        **{f"{RESEEDED}{number}": ends for number in range(1, transfer.repeats)},
    }


def trained(protocol: Protocol) -> list[Trained]:
    """Return every training of the grid."""
    return [
        (layers, size, repeat)
        for repeat, each in depths(protocol.transfer).items()
        for layers in each
        for size in protocol.transfer.sizes
    ]


def training_sets(protocol: Protocol) -> list[tuple[str, int]]:
    """Return (split, what is added to the seed) of the trainings of the grid that differ in either, each once."""
    return [
        (f"{size}{draw_of(repeat)}", number_of(repeat))
        for size in protocol.transfer.sizes
        for repeat in depths(protocol.transfer)
    ]


def drawn(protocol: Protocol) -> list[tuple[int, int]]:
    """Return (size, number of the draw) of the further draws of training images."""
    return [(size, number) for size in protocol.transfer.sizes for number in range(1, protocol.transfer.repeats)]


def bundles(protocol: Protocol) -> dict[str, list[Trained]]:
    """Return name → the trainings that share a cluster job: of one split and seed, at most `BUNDLE`."""
    return {
        f"s{size}{repeat}_{start // BUNDLE}": [(each, size, repeat) for each in layers[start : start + BUNDLE]]
        for size in protocol.transfer.sizes
        for repeat, layers in depths(protocol.transfer).items()
        for start in range(0, len(layers), BUNDLE)
    }


def compared(protocol: Protocol) -> list[tuple[str, str, int, int]]:
    """Return the jobs of a comparison: (head_input, frozen_batchnorm, layers, size)."""
    section = protocol.transfer.comparison
    return [
        (*variant, layers, size) for layers in section.layers for size in section.sizes for variant in section.variants
    ]


def shares_features(protocol: Protocol, frozen_batchnorm: str) -> bool:
    """Return whether the frozen layers give the same for every pair, so that their outputs are stored once."""
    return frozen_batchnorm == "eval" and protocol.transfer.features_gb > 0


def variant_draws(gridcnn: GridCNN) -> range:
    """Return the draws in which each of ``VARIANTS`` is trained; the number is added to the study's seed."""
    return range(1, gridcnn.variants.draws + 1)
