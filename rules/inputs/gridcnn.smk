# Inputs and params of the rules of the grid CNN.


def of_boxed_labels(wildcards):
    """All labels of the boxed training images, if the grid CNN distinguishes absent findings from those without a box."""
    section = protocol_of(wildcards).gridcnn
    wanted = section.head == "findings" and section.mask_unboxed
    return [of_boxes("train_labels")(wildcards)] if wanted else []


def gridcnn_settings(wildcards, *unused):
    """The settings that a training of the grid CNN depends on."""
    return protocol_of(wildcards).gridcnn.model_dump(exclude={"threshold", "tune_threshold", *unused})


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
