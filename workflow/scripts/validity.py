import os
from pathlib import Path

from cxr.metrics import evaluation
from cxr.runtime import jobs
from cxr.settings import Evaluation

job = snakemake.params
with jobs.opened(snakemake, f"validity {job.protocol} {job.experiment}", os.environ) as (_, out):
    evaluation.write_validity(
        experiment=(job.protocol, job.experiment),
        predictions=Path(snakemake.input.predictions),
        floors=Path(snakemake.input.floors),
        test_split=Path(snakemake.input.test),
        test_metadata=Path(snakemake.input.test_metadata),
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
    )
