import os
from pathlib import Path

from cxr import pretraining, runs
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import GridCNN

with (
    Journal(snakemake.log[0], f"grid CNN pre-training {snakemake.wildcards.protocol}") as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    whole(snakemake.output.items()) as out,
):
    pretraining.train(
        drawn=Path(snakemake.input.drawn),
        settings=GridCNN(**snakemake.params.settings),
        run=run,
        model=out["model"],
        fingerprint=out["fingerprint"],
        history=out["history"],
        facts=out["facts"],
    )
