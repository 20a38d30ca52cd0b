import os
from pathlib import Path

from cxr.report import validation
from cxr.runtime import jobs
from cxr.settings import Evaluation

with jobs.opened(snakemake, "validate report", os.environ) as (_, out):
    validation.write(
        run=snakemake.params.run,
        name=snakemake.params.name,
        table=Path(snakemake.input.table),
        validity=Path(snakemake.input.validity),
        summary=Path(snakemake.input.summary),
        classes=Path(snakemake.input.classes),
        detectors=[Path(path) for path in snakemake.input.detectors],
        settings=Evaluation(**snakemake.params.evaluation),
        page=out["page"],
    )
