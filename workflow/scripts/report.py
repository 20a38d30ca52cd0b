import os
from pathlib import Path

from cxr.report import files
from cxr.runtime import jobs

source_facts, source_history = map(Path, snakemake.input.source)
alone = ("leakage", "grids", "selected", "comparisons", "sheets", "failures", "maps", "froc")
both = ("metrics", "facts", "histories")  # of the experiments known beforehand, then of the long transfer runs
with jobs.opened(snakemake, "report", os.environ) as (tell, out):
    files.write(
        settings=Path(snakemake.input.settings),
        summary=Path(snakemake.input.summary),
        rejected=Path(snakemake.input.rejected),
        **{name: [Path(path) for path in snakemake.input[name]] for name in alone},
        **{name: [Path(path) for path in [*snakemake.input[name], *snakemake.input[f"long_{name}"]]] for name in both},
        source_facts=source_facts,
        source_history=source_history,
        examples=Path(snakemake.input.examples),
        jobs=files.as_jobs(snakemake.params.jobs, snakemake.input.long_metrics),
        skipped=files.as_skipped(snakemake.params.skipped),
        page=out["page"],
        tables=out["tables"],
        tell=tell,
    )
