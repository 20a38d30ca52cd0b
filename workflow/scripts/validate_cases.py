import os
from pathlib import Path

from cxr.inference import validation
from cxr.runtime import jobs

with jobs.opened(snakemake, "validate cases", os.environ) as (tell, out):
    validation.write_cases(
        labels=Path(snakemake.input.labels),
        names=next(map(Path, snakemake.input.names), None),
        one_image_per_patient=snakemake.params.one_image_per_patient,
        images=Path(snakemake.input.table),
        train=Path(snakemake.input.train),
        cases=out["cases"],
        summary=out["summary"],
        tell=tell,
    )
