import os
from pathlib import Path

from cxr.metrics import floor_table
from cxr.runtime import jobs
from cxr.settings import Evaluation, Split

with jobs.opened(snakemake, "floors", os.environ) as (tell, out):
    floor_table.write(
        labels=Path(snakemake.input.labels),
        lists=[Path(path) for path in snakemake.input.lists],
        protocols={name: (Split(**rule), sizes) for name, (rule, sizes) in snakemake.params.protocols.items()},
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        workers=snakemake.threads,
        table=out["table"],
        text=out["text"],
        tell=tell,
    )
