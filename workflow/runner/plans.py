"""Which transfer jobs a protocol asks for: pairs (c, s), bundles of them, the choices that are compared."""

from cxr.settings import Protocol

BUNDLE = 10  # at most this many pairs of one size share a cluster job

Pair = tuple[int, int]  # c trainable layers, s images


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


def bundles(protocol: Protocol) -> dict[str, list[Pair]]:
    """Return name → the pairs that share a cluster job: of one size, at most `BUNDLE`."""
    layers = protocol.transfer.layers
    return {
        f"s{size}_{start // BUNDLE}": [(each, size) for each in layers[start : start + BUNDLE]]
        for size in protocol.transfer.sizes
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
