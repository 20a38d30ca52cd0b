import os

from cxr.metrics import evaluation
from cxr.runtime import jobs
from cxr.settings import Evaluation

job = snakemake.params
with jobs.opened(snakemake, f"metrics {job.protocol} {job.experiment}", os.environ) as (tell, out):
    evaluation.write_detector(
        experiment=(job.protocol, job.experiment),
        files=evaluation.FoldFiles.of(snakemake),
        threshold=snakemake.params.threshold,
        tune=snakemake.params.tune,
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        outputs=evaluation.DetectorFiles(**out),
        tell=tell,
    )
