import os
from pathlib import Path

from cxr.classifiers import baseline, fit
from cxr.settings import Schedule
from cxr.training import runs

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"baseline {job.protocol} {job.activation}", os.environ) as (run, out):
    baseline.train(
        inputs=fit.Inputs.of(snakemake),
        predicted=Path(snakemake.input.predicted),
        outputs=fit.Outputs(**out),
        activation=snakemake.wildcards.activation,
        network=snakemake.params.network,
        balanced=settings["balanced"],
        schedule=Schedule(**settings["training"]),
        select_by=snakemake.params.select_by,
        run=run,
    )
