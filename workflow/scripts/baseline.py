import os
from pathlib import Path

from cxr import baseline, classification, runs
from cxr.settings import Schedule

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"baseline {job.protocol} {job.activation}", os.environ) as (run, out):
    baseline.train(
        inputs=classification.Inputs.of(snakemake),
        predicted=Path(snakemake.input.predicted),
        outputs=classification.Outputs(**out),
        activation=snakemake.wildcards.activation,
        network=snakemake.params.network,
        balanced=settings["balanced"],
        schedule=Schedule(**settings["training"]),
        select_by=snakemake.params.select_by,
        run=run,
    )
