import os
from pathlib import Path

from cxr.data import leakage_splits
from cxr.runtime import jobs

with jobs.opened(snakemake, "leakage splits", os.environ) as (tell, out):
    leakage_splits.write_all(
        records=Path(snakemake.input.records),
        design=leakage_splits.Design(**snakemake.params.design),
        repeats=snakemake.params.repeats,
        seed=snakemake.params.seed,
        folder=out["folder"],
        tell=tell,
    )
