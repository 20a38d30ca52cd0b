import os

from cxr.metrics import leakage
from cxr.runtime import jobs
from cxr.settings import Evaluation

with jobs.opened(snakemake, "metrics of leakage", os.environ) as (tell, out):
    leakage.write(
        repeats=leakage.RepeatFiles.of(snakemake),
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        tell=tell,
    )
