import os
from pathlib import Path

from cxr.inference import validation
from cxr.runtime import jobs
from cxr.settings import Evaluation

with jobs.opened(snakemake, "validate metrics", os.environ) as (tell, out):
    validation.write_metrics(
        protocol=snakemake.params.protocol,
        cases=Path(snakemake.input.cases),
        summary=Path(snakemake.input.summary),
        classes=Path(snakemake.input.classes),
        train=Path(snakemake.input.train),
        train_metadata=Path(snakemake.input.train_metadata),
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        validity=out["validity"],
        tell=tell,
    )
