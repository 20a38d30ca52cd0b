import os
from pathlib import Path

from cxr.classifiers import transfer
from cxr.settings import Augment, Schedule
from cxr.training import runs

with runs.of_job(snakemake, f"shared features {snakemake.wildcards.protocol}", os.environ) as (run, out):
    transfer.write_features(
        train_splits=dict(zip(snakemake.params.sizes, map(Path, snakemake.input.train), strict=True)),
        judged=[Path(path) for path in snakemake.input.judged],
        source_weights=Path(snakemake.input.source),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        image_size=snakemake.params.image_size,
        network=snakemake.params.network,
        layers=snakemake.params.layers,
        schedule=Schedule(**snakemake.params.schedule),
        augment=Augment(**snakemake.params.augment),
        budget=snakemake.params.budget,
        code=snakemake.params.code,
        store_file=out["store"],
        run=run,
    )
