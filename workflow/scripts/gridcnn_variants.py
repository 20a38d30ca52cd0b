import os

from cxr.metrics import variants
from cxr.runtime import jobs
from cxr.settings import Evaluation

with jobs.opened(snakemake, f"variants of the grid CNN {snakemake.wildcards.protocol}", os.environ) as (tell, out):
    variants.write(
        trainings=variants.Training.of(snakemake),
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        tell=tell,
    )
