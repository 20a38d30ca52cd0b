# Inputs and params of the external validation.

EXTERNAL = destination.place(SETTINGS.validate.folder, SETTINGS.validate.name)
VALIDATED = f"<results>/validations/{EXTERNAL}"
VALIDATING = BEST if SETTINGS.validate.protocol == "best" else SETTINGS.validate.protocol


def external_fingerprint():
    """A hash over names, sizes and times of the files in the folder that is validated on."""
    if not SETTINGS.validate.folder:
        sys.exit(
            "Error: nothing to validate on: name a folder of images and their table, "
            "--config 'validate={folder: /path/to/images, table: /path/to/labels.csv}'"
        )
    given = Path(SETTINGS.validate.folder)
    engine.or_exit(destination.require_own, given, RESULTS / "validations" / EXTERNAL / "folder.txt", "validate")
    return engine.or_exit(folder.fingerprint, given, "")


def external_table(wildcards):
    return SETTINGS.validate.table or sys.exit(
        "Error: validate.table is empty: name the table of labels, --config 'validate={folder: ..., table: /path/to/labels.csv}'"
    )


def box_tables():
    """The metric tables of the detectors, where the configuration names boxes."""
    kinds = ("boxes", "cells") if SETTINGS.validate.boxes else ()
    return [f"{VALIDATED}/{kind}_metrics.csv" for kind in kinds]


def of_validating(role):
    """The split file of the baseline that the image-free predictors of a validation are fitted on."""
    return lambda wildcards: split_file(VALIDATING, plans.baseline_size(getattr(SETTINGS, VALIDATING)), role)
