import os
from pathlib import Path

from cxr import baseline, classification, runs
from cxr.settings import Augment, Schedule

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"baseline {job.protocol} {job.activation}", os.environ) as (run, out):
    baseline.train(
        inputs=classification.Inputs(
            train_split=Path(snakemake.input.train),
            validation_split=Path(snakemake.input.validation),
            index=Path(snakemake.input.index),
            store=Path(snakemake.params.store),
            image_size=snakemake.params.image_size,
            augment=Augment(**snakemake.params.augment),
        ),
        predicted=Path(snakemake.input.predicted),
        outputs=classification.Outputs(**out),
        activation=snakemake.wildcards.activation,
        network=snakemake.params.network,
        balanced=settings["balanced"],
        schedule=Schedule(**settings["training"]),
        select_by=snakemake.params.select_by,
        run=run,
    )
