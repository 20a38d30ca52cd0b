from pathlib import Path

from cxr import evaluation
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import Evaluation

with (
    Journal(snakemake.log[0], f"metrics {snakemake.params.protocol} {snakemake.params.experiment}") as tell,
    whole(snakemake.output.items()) as out,
):
    evaluation.write_detector(
        protocol=snakemake.params.protocol,
        experiment=snakemake.params.experiment,
        predictions=[Path(path) for path in snakemake.input.predictions],
        validation_predictions=[Path(path) for path in snakemake.input.validation_predictions],
        train_splits=[Path(path) for path in snakemake.input.train],
        validation_splits=[Path(path) for path in snakemake.input.validation],
        test_splits=[Path(path) for path in snakemake.input.test],
        threshold=snakemake.params.threshold,
        tune=snakemake.params.tune,
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        chosen=out["thresholds"],
        froc=out["froc"],
        tell=tell,
    )
