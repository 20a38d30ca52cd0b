import os
from pathlib import Path

from cxr.metrics import evaluation
from cxr.runtime import jobs
from cxr.settings import Evaluation

job = snakemake.params
with jobs.opened(snakemake, f"metrics {job.protocol} {job.experiment}", os.environ) as (tell, out):
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
