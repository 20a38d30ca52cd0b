# Inputs and params of the rules of the data.


def folder_fingerprint():
    """A hash over names, sizes and times of the images below the root, so that changed files re-run `images`."""
    engine.or_exit(layouts.require_unpacked, DATA_ROOT)
    return engine.or_exit(folder.fingerprint, Path(DATA_ROOT), ".png", SETTINGS.data.include, SETTINGS.data.exclude)


VOC = [
    f"<results>/voc/{name}/fold{fold}/{role}.csv"
    for name in SETTINGS.protocols
    for fold in folds_of(name)
    for role in ROLES
]
