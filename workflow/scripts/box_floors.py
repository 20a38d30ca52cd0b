import os
from pathlib import Path

from cxr.metrics import box_floor_table
from cxr.runtime import jobs
from cxr.settings import Evaluation, Split

with jobs.opened(snakemake, "floors of the boxes", os.environ) as (tell, out):
    box_floor_table.write(
        labels=Path(snakemake.input.labels),
        boxes=Path(snakemake.input.boxes),
        protocols={name: Split(**rule) for name, rule in snakemake.params.protocols.items()},
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        text=out["text"],
        tell=tell,
    )
