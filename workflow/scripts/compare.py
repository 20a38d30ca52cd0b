import os

from cxr.report import collapse
from cxr.runtime import jobs

with jobs.opened(snakemake, f"compare {snakemake.wildcards.protocol}", os.environ) as (tell, out):
    collapse.write(
        compared=collapse.Compared.of(snakemake),
        table=out["table"],
        picture=out["picture"],
        tell=tell,
    )
