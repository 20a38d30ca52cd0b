# Inputs of the rules of the leakage experiment.

# Every network, as in file names: the halves of a draw after each other, as `cxr.metrics.leakage` takes them.
HALF_RUNS = [(draw, half) for draw in range(SETTINGS.leakage.repeats) for half in ("a", "b")]


def leakage_folder():
    checkpoints.records.get()
    return checkpoints.leakage_splits.get().output.folder


def of_leakage(name):
    """A file of the splits of the leakage experiment, once the checkpoint has run; fields draw and half."""
    return lambda wildcards: f"{leakage_folder()}/{name.format(**dict(wildcards.items()))}"


def of_half_runs(pattern):
    return [pattern.format(draw=draw, half=half) for draw, half in HALF_RUNS]


def of_half_splits(name):
    return lambda wildcards: [f"{leakage_folder()}/{path}" for path in of_half_runs(name)]


def of_repeats(name):
    return lambda wildcards: [f"{leakage_folder()}/{draw}/{name}" for draw in range(SETTINGS.leakage.repeats)]
