# Inputs and params of the metrics and the report.

TEMPLATES = [f"report/{name}.html.j2" for name in ("macros", "style", "validity")]  # of all pages
EXPERIMENTS = list(dict.fromkeys((name, experiment) for name, experiment, _ in JOBS))


def of_baseline_floors(role):
    """What the image-free predictors of the baselines' split say of its test images (role ""), or of those of `role`."""
    return (
        lambda wildcards: f"{RESULTS}/floors/{wildcards.protocol}/{plans.baseline_size(protocol_of(wildcards))}{role}.npz"
    )


def box_settings(wildcards):
    return experiments.BY_NAME[wildcards.detector].settings(SETTINGS, wildcards.protocol)


def validation_page(wildcards):
    """The page of the external validation that the configuration names, relative to the report; "" without one."""
    return f"validations/{EXTERNAL}/report.html" if SETTINGS.validate.folder else ""


def leakage(wildcards):
    """The leakage tables of every split of every protocol."""
    return [
        split_file(name, split, "leakage")
        for name in SETTINGS.protocols
        for split in [*plans.sizes(getattr(SETTINGS, name)), *(f"boxes_fold{fold}" for fold in folds_of(name))]
    ]
