import os
from pathlib import Path

from cxr.report import sheets
from cxr.runtime import jobs

with jobs.opened(snakemake, "examples", os.environ) as (tell, out):
    sheets.write_examples(
        records=Path(snakemake.input.records),
        index=Path(snakemake.input.index),
        store=Path(snakemake.params.store),
        size=snakemake.params.size,
        seed=snakemake.params.seed,
        picture=out["picture"],
        tell=tell,
    )
