import os

from cxr.metrics import claims
from cxr.runtime import jobs
from cxr.settings import Evaluation

with jobs.opened(snakemake, f"ledger {snakemake.wildcards.protocol}", os.environ) as (tell, out):
    claims.write(
        inputs=claims.Inputs.of(snakemake),
        thresholds=snakemake.params.thresholds,
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        tell=tell,
    )
