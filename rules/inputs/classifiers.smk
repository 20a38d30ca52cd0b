# What the rules of all classifiers pass on.

# Params that all rules have that train classifiers, or store what their frozen layers make of images.
CLASSIFIER = {
    "common": COMMON,
    "store": STORE,
    "image_size": SETTINGS.images.size,
    "network": SETTINGS.network.name,
    "augment": lambda wildcards: protocol_of(wildcards).augment.model_dump(),
}
