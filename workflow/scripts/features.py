import os
from pathlib import Path

from cxr import runs, transfer
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import Augment, Schedule

with (
    Journal(snakemake.log[0], f"shared features {snakemake.wildcards.protocol}") as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    whole(snakemake.output.items()) as out,
):
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
