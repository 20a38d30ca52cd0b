import os
from pathlib import Path

from cxr.metrics import evaluation
from cxr.runtime import jobs
from cxr.settings import Evaluation

job = snakemake.params
with jobs.opened(snakemake, f"validity {job.protocol} {job.experiment}", os.environ) as (tell, out):
    evaluation.write_detector_validity(
        experiment=(job.protocol, job.experiment),
        files=evaluation.FoldFiles.of(snakemake),
        test_metadata=[Path(path) for path in snakemake.input.test_metadata],
        threshold=snakemake.params.threshold,
        tune=snakemake.params.tune,
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
        tell=tell,
    )
