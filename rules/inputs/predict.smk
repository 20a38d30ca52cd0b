# Inputs and params of the predictions of new images.

NEW = destination.place(SETTINGS.predict.folder, SETTINGS.predict.name)
PREDICTED = f"<results>/predictions/{NEW}"
BEST = "sound" if "sound" in SETTINGS.protocols else "paper"
PREDICTING = BEST if SETTINGS.predict.protocol == "best" else SETTINGS.predict.protocol


def box_choice(protocol):
    """The detectors of boxes that may predict new images."""
    return [
        name
        for where, name in DETECTORS
        if where == protocol and name in BOX_DETECTORS and experiments.BY_NAME[name].predicts
    ]


BOX_CHOICE = box_choice(PREDICTING)


def new_images_fingerprint():
    """A hash over names, sizes and times of the files that `predict` is given."""
    if not SETTINGS.predict.folder:
        sys.exit("Error: nothing to predict: name a folder of images, --config 'predict={folder: /path/to/images}'")
    given = Path(SETTINGS.predict.folder)
    engine.or_exit(destination.require_own, given, RESULTS / "predictions" / NEW / "folder.txt", "predict")
    return engine.or_exit(folder.fingerprint, given, "")


def of_classifiers(protocol, file):
    """A file of every classifier that may predict new images; the facts that it is chosen by are beside its model."""
    return lambda wildcards: [
        f"<results>/baseline/{protocol}/sigmoid/{file}",
        *(f"<results>/transfer_long/{protocol}/{pair}/{file}" for pair in selected_pairs(protocol)),
    ]


def of_detectors(protocol, names, file):
    """A file of every fold of these detectors."""
    return [f"<results>/{name}/{protocol}/fold{fold}/{file}" for name in names for fold in folds_of(protocol)]
