import os

from cxr.metrics import grid
from cxr.runtime import jobs

with jobs.opened(snakemake, f"select {snakemake.wildcards.protocol}", os.environ) as (_, out):
    grid.write_grid(
        grid.Training.of(snakemake),
        **snakemake.params.settings,
        confidence=snakemake.params.confidence,
        outputs=grid.Outputs(**out),
    )
