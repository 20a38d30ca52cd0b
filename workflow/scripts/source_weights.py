import os

from cxr.classifiers import source_weights
from cxr.settings import Source
from cxr.training import runs

with runs.of_job(snakemake, "source weights", os.environ) as (run, out):
    source_weights.prepare(
        settings=Source(**snakemake.params.settings),
        network=snakemake.params.network,
        image_size=snakemake.params.image_size,
        run=run,
        model=out["model"],
        fingerprint=out["fingerprint"],
        history=out["history"],
        facts=out["facts"],
    )
