import os

from cxr import runs, source
from cxr.settings import Source

with runs.of_job(snakemake, "source weights", os.environ) as (run, out):
    source.prepare(
        settings=Source(**snakemake.params.settings),
        network=snakemake.params.network,
        image_size=snakemake.params.image_size,
        run=run,
        model=out["model"],
        fingerprint=out["fingerprint"],
        history=out["history"],
        facts=out["facts"],
    )
