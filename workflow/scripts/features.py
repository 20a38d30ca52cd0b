import os
from pathlib import Path

from cxr.classifiers import transfer
from cxr.classifiers.frozen_features import Grid
from cxr.settings import Augment, Schedule
from cxr.training import runs

with runs.of_job(snakemake, f"shared features {snakemake.wildcards.protocol}", os.environ) as (run, out):
    transfer.write_features(
        inputs=transfer.GridFiles(
            train_splits=list(zip(map(Path, snakemake.input.train), snakemake.params.repeats, strict=True)),
            judged=[Path(path) for path in snakemake.input.judged],
            index=Path(snakemake.input.index),
            store=Path(snakemake.params.store),
            image_size=snakemake.params.image_size,
        ),
        source_weights=Path(snakemake.input.source),
        network=snakemake.params.network,
        grid=Grid(
            depths=snakemake.params.layers,
            schedule=Schedule(**snakemake.params.schedule),
            augment=Augment(**snakemake.params.augment),
            budget=snakemake.params.budget,
        ),
        code=snakemake.params.code,
        store_file=out["store"],
        run=run,
    )
