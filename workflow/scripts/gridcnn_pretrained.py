import os
from pathlib import Path

from cxr import pretraining, runs
from cxr.settings import GridCNN

with runs.of_job(snakemake, f"grid CNN pre-training {snakemake.wildcards.protocol}", os.environ) as (run, out):
    pretraining.train(
        drawn=Path(snakemake.input.drawn),
        settings=GridCNN(**snakemake.params.settings),
        run=run,
        model=out["model"],
        fingerprint=out["fingerprint"],
        history=out["history"],
        facts=out["facts"],
    )
