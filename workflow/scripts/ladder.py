import os
from pathlib import Path

from cxr.metrics import evaluation
from cxr.runtime import jobs

with jobs.opened(snakemake, " ".join(["floors", *snakemake.wildcards]), os.environ) as (tell, out):
    evaluation.write_ladder(
        train=Path(snakemake.input.train),
        train_metadata=Path(snakemake.input.train_metadata),
        test_metadata=Path(snakemake.input.test_metadata),
        validation_metadata=Path(snakemake.input.validation_metadata) if "validation_ladder" in out else None,
        seed=snakemake.params.seed,
        ladder=out["ladder"],
        validation_ladder=out.get("validation_ladder"),
        tell=tell,
    )
