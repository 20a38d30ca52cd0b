import os
from pathlib import Path

from cxr.detectors.gridcnn import pretraining
from cxr.settings import GridCNN
from cxr.training import runs

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
