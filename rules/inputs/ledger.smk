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


def thresholds_of(protocol):
    """The threshold of each detector's settings, and whether it is chosen on the validation images instead."""
    return {
        "gridcnn": [protocol.gridcnn.threshold, protocol.gridcnn.tune_threshold],
        "yolo_finetuned": [protocol.yolo.confidence, protocol.yolo.tune_confidence],
    }
