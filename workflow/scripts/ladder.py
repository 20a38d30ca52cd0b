import os
from pathlib import Path

from cxr.metrics import evaluation
from cxr.runtime import jobs

with jobs.opened(snakemake, " ".join(["floors", *snakemake.wildcards]), os.environ) as (tell, out):
    evaluation.write_ladder(
        train=Path(snakemake.input.train),
        train_metadata=Path(snakemake.input.train_metadata),
        validation_metadata=Path(snakemake.input.validation_metadata),
        test_metadata=Path(snakemake.input.test_metadata),
        seed=snakemake.params.seed,
        ladder=out["ladder"],
        validation_ladder=out["validation_ladder"],
        tell=tell,
    )
