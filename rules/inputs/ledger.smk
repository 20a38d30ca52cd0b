# Inputs and params of what compares several experiments by their predictions.


def of_pairs(pairs, pattern):
    """A file of each of a protocol's pairs. pairs: a function that takes the protocol and returns their names."""
    return lambda wildcards: [
        pattern.format(protocol=wildcards.protocol, pair=pair, size=size_of(pair)) for pair in pairs(wildcards.protocol)
    ]


def of_pair_splits(pairs, role):
    """The split file of each of a protocol's pairs."""
    return lambda wildcards: [split_file(wildcards.protocol, size_of(pair), role) for pair in pairs(wildcards.protocol)]


def size_of(pair):
    return pair.partition("_s")[2]


def curve_pairs(protocol):
    """The depths of the pairs that a protocol's grid chose, each at every size of the grid."""
    depths = dict.fromkeys(pair.partition("_s")[0] for pair in selected_pairs(protocol))
    return [f"{depth}_s{size}" for depth in depths for size in getattr(SETTINGS, protocol).transfer.sizes]


of_chosen = functools.partial(of_pairs, selected_pairs)
of_chosen_splits = functools.partial(of_pair_splits, selected_pairs)
of_curve = functools.partial(of_pairs, curve_pairs)
of_curve_splits = functools.partial(of_pair_splits, curve_pairs)


def of_yolo(file):
    """A file of each fold of the fine-tuned YOLO that a protocol runs; none where it runs none."""

    def of(wildcards):
        name = experiments.fine_tuned_yolo(SETTINGS, wildcards.protocol)
        return of_folds(f"<results>/{name}/{{protocol}}/fold{{fold}}/{file}")(wildcards) if name else []

    return of


def thresholds_of(wildcards):
    """The threshold of each detector's settings, and whether it is chosen on the validation images instead."""
    protocol = protocol_of(wildcards)
    told = {"gridcnn": [protocol.gridcnn.threshold, protocol.gridcnn.tune_threshold]}
    if name := experiments.fine_tuned_yolo(SETTINGS, wildcards.protocol):
        settings = experiments.BY_NAME[name].settings(SETTINGS, wildcards.protocol)
        told[name] = [settings.confidence, settings.tune_confidence]
    return told
