# Params of the rules of all classifiers.

# Shared by all rules that train classifiers, or store the outputs of their frozen layers.
CLASSIFIER = {
    "common": COMMON,
    "store": STORE,
    "image_size": SETTINGS.images.size,
    "network": SETTINGS.network.name,
    "augment": lambda wildcards: protocol_of(wildcards).augment.model_dump(),
}
