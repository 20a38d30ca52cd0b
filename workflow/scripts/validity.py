import os

from cxr.metrics import evaluation
from cxr.runtime import jobs
from cxr.settings import Evaluation

job = snakemake.params
with jobs.opened(snakemake, f"validity {job.protocol} {job.experiment}", os.environ) as (_, out):
    evaluation.write_validity(
        experiment=(job.protocol, job.experiment),
        files=evaluation.ValidityFiles.of(snakemake),
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
    )
