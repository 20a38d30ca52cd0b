import os
from pathlib import Path

from cxr.metrics import repeats
from cxr.runtime import jobs

with jobs.opened(snakemake, f"repeats {snakemake.wildcards.protocol}", os.environ) as (_, out):
    repeats.write(
        [Path(path) for path in snakemake.input.tables],
        pairs=snakemake.params.pairs,
        confidence=snakemake.params.confidence,
        table=out["table"],
    )
