import os
from pathlib import Path

from cxr.metrics import floor_table
from cxr.runtime import jobs
from cxr.settings import Evaluation, Split

with jobs.opened(snakemake, "floors", os.environ) as (tell, out):
    floor_table.write(
        tables=floor_table.Tables(Path(snakemake.input.labels), [Path(path) for path in snakemake.input.lists]),
        protocols={name: (Split(**rule), sizes) for name, (rule, sizes) in snakemake.params.protocols.items()},
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        workers=snakemake.threads,
        outputs=floor_table.Outputs(**out),
        tell=tell,
    )
