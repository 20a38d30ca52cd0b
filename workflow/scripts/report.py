import os

from cxr.report import files
from cxr.runtime import jobs

with jobs.opened(snakemake, "report", os.environ) as (tell, out):
    files.write(
        sources=files.Sources.of(snakemake),
        jobs=files.as_jobs(snakemake.params.jobs, snakemake.input.long_metrics),
        skipped=files.as_skipped(snakemake.params.skipped),
        validation=snakemake.params.validation,
        page=out["page"],
        tables=out["tables"],
        tell=tell,
    )
