import os

from cxr.metrics import transfer_gain
from cxr.runtime import jobs
from cxr.settings import Evaluation

with jobs.opened(snakemake, f"transfer gain {snakemake.wildcards.protocol}", os.environ) as (tell, out):
    transfer_gain.write(
        inputs=transfer_gain.Inputs.of(snakemake),
        protocol=snakemake.wildcards.protocol,
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        tell=tell,
    )
