# Inputs and params of the rules of the grid CNN.


def of_boxed_labels(wildcards):
    """All labels of the boxed training images, if the grid CNN distinguishes absent findings from those without a box."""
    section = protocol_of(wildcards).gridcnn
    wanted = section.head == "findings" and section.mask_unboxed
    return [of_boxes("train_labels")(wildcards)] if wanted else []


def gridcnn_settings(wildcards, *unused):
    """The settings that a training of the grid CNN depends on."""
    return protocol_of(wildcards).gridcnn.model_dump(exclude={"threshold", "tune_threshold", "variants", *unused})


def drawn_beforehand(wildcards):
    section = protocol_of(wildcards).gridcnn
    return {"count": section.pretraining.images, "side": section.image_size}


def of_pretrained(file):
    """A file of the grid CNN's pre-training on phantoms, where the configuration asks for one."""
    return lambda wildcards: (
        [f"<results>/gridcnn/{wildcards.protocol}/pretrained/{file}"]
        if protocol_of(wildcards).gridcnn.pretraining.images
        else []
    )


def of_variant_boxes(role):
    """The boxed training images of a variant: all of a fold's, or a draw of fewer."""
    return lambda wildcards: (
        of_boxes(role)(wildcards)
        if wildcards.amount == "all"
        else f"<results>/gridcnn_variants/{wildcards.protocol}/fewer/draw{wildcards.draw}_fold{wildcards.fold}.csv"
    )


def of_variants(file):
    """A file of every training of the comparison: variant by variant, draw by draw, fold by fold."""
    return lambda wildcards: [
        f"<results>/gridcnn_variants/{wildcards.protocol}/{variant}/draw{draw}_fold{fold}/{file}"
        for variant in plans.VARIANTS
        for draw in plans.variant_draws(protocol_of(wildcards).gridcnn)
        for fold in folds_of(wildcards.protocol)
    ]


def of_fewer(wildcards):
    """The training images of every draw of fewer, draw by draw, fold by fold."""
    return [
        f"<results>/gridcnn_variants/{wildcards.protocol}/fewer/draw{draw}_fold{fold}.csv"
        for draw in plans.variant_draws(protocol_of(wildcards).gridcnn)
        for fold in folds_of(wildcards.protocol)
    ]


def compared_variants():
    """The table of the comparison, where the configuration runs it."""
    runs = "paper" in SETTINGS.protocols and SETTINGS.paper.gridcnn.variants.draws
    return ["<results>/ledger/paper_variants.csv"] if runs else []
