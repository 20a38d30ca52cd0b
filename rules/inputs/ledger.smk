# Inputs and params of the measurements behind the ledger.


def of_chosen(pattern):
    """A file of each pair that a protocol's grid chose."""
    return lambda wildcards: [
        pattern.format(protocol=wildcards.protocol, pair=pair, size=pair.partition("_s")[2])
        for pair in selected_pairs(wildcards.protocol)
    ]


def of_chosen_tests(wildcards):
    """The test split of each pair that a protocol's grid chose."""
    return [
        split_file(wildcards.protocol, pair.partition("_s")[2], "test") for pair in selected_pairs(wildcards.protocol)
    ]


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
