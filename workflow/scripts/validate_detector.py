import os
from pathlib import Path

from cxr.inference import box_validation
from cxr.runtime import jobs
from cxr.settings import Evaluation

with jobs.opened(snakemake, "validate detector", os.environ) as (tell, out):
    box_validation.write_metrics(
        protocol=snakemake.params.protocol,
        truth=Path(snakemake.input.truth),
        images=Path(snakemake.input.table),
        predictions=Path(snakemake.input.predictions),
        facts=Path(snakemake.input.facts),
        thresholds=[Path(path) for path in snakemake.input.thresholds],
        train=[Path(path) for path in snakemake.input.train],
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["metrics"],
        tell=tell,
    )
