import os
from pathlib import Path

from cxr.metrics import grid
from cxr.runtime import jobs

with jobs.opened(snakemake, f"select {snakemake.wildcards.protocol}", os.environ) as (_, out):
    grid.write_grid(
        pairs=snakemake.params.pairs,
        predictions=[Path(path) for path in snakemake.input.predictions],
        facts=[Path(path) for path in snakemake.input.facts],
        train_splits=[Path(path) for path in snakemake.input.train],
        validation_splits=[Path(path) for path in snakemake.input.validation],
        **snakemake.params.settings,
        grid=out["grid"],
        selected=out["selected"],
    )
