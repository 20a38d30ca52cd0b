# Inputs and params of the rules of transfer learning, and of the comparison of its choices.

PROBED = 128  # validation images on which a comparison's jobs measure the added layer


def transfer_settings(wildcards, schedule):
    section = protocol_of(wildcards).transfer
    return chosen(section, "head_input", "frozen_batchnorm", "head_init", "balanced", "select_by") | {
        "schedule": section.model_dump()[schedule],
        "probed": 0,
        "repeat": plans.number_of(wildcards.get("repeat", "")),
    }


def of_features(wildcards):
    """The grid's stored features, if all pairs can share the outputs of the frozen layers."""
    protocol = protocol_of(wildcards)
    shared = plans.shares_features(protocol, protocol.transfer.frozen_batchnorm)
    return [f"<results>/features/{wildcards.protocol}/store.json"] if shared else []


def of_sizes(role, sizes):
    """The split files of some sizes. sizes: a function that takes the settings of transfer and returns the sizes."""
    return lambda wildcards: [
        split_file(wildcards.protocol, size, role) for size in sizes(protocol_of(wildcards).transfer)
    ]


def of_training_sets(role):
    """The split files of the trainings of the grid that differ from others in their images or the order of these."""
    return lambda wildcards: [
        split_file(wildcards.protocol, split, role) for split, _ in plans.training_sets(protocol_of(wildcards))
    ]


def of_grid(pattern):
    """A file of every training of the grid."""
    return lambda wildcards: [
        f"<results>/transfer/{wildcards.protocol}/c{layers}_s{size}{repeat}/{pattern}"
        for layers, size, repeat in plans.trained(protocol_of(wildcards))
    ]


def of_grid_splits(role):
    """The split file of every training of the grid."""
    return lambda wildcards: [
        split_file(wildcards.protocol, f"{size}{plans.draw_of(repeat) if role == 'train' else ''}", role)
        for _, size, repeat in plans.trained(protocol_of(wildcards))
    ]


def of_bundle(wildcards):
    """The predictions of the trainings that share a cluster job."""
    name = f"s{wildcards.size}{wildcards.repeat}_{wildcards.number}"
    return [
        f"<results>/transfer/{wildcards.protocol}/c{layers}_s{size}{repeat}/predictions.csv"
        for layers, size, repeat in plans.bundles(protocol_of(wildcards))[name]
    ]


def variant_settings(wildcards):
    """The settings of a grid job, except the two that the comparison varies."""
    varied = {"head_input": wildcards.head_input, "frozen_batchnorm": wildcards.frozen_batchnorm}
    return transfer_settings(wildcards, "training") | varied | {"probed": PROBED}


def of_variant_features(wildcards):
    shared = plans.shares_features(protocol_of(wildcards), wildcards.frozen_batchnorm)
    return [f"<results>/comparison/{wildcards.protocol}/features/store.json"] if shared else []


def of_compared(pattern):
    return lambda wildcards: [
        f"<results>/comparison/{wildcards.protocol}/{head}_{norm}/c{layers}_s{size}/{pattern}"
        for head, norm, layers, size in plans.compared(protocol_of(wildcards))
    ]


def of_compared_splits(role):
    return lambda wildcards: [
        split_file(wildcards.protocol, size, role) for *_, size in plans.compared(protocol_of(wildcards))
    ]


def comparisons(pattern):
    """A file of every protocol that has a comparison."""
    return [pattern.format(protocol=name) for name in SETTINGS.protocols if plans.compared(getattr(SETTINGS, name))]


def configured_comparisons(wildcards):
    return comparisons("<results>/comparison/{protocol}/comparison.csv") or sys.exit(
        "Error: no comparison is configured: set layers and sizes in transfer.comparison of a protocol, as in config/collapse.yaml"
    )
