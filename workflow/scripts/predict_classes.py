import os
from pathlib import Path

from cxr import prediction, runs

with runs.of_job(snakemake, "predict classes", os.environ) as (run, out):
    prediction.classes(
        models=[Path(path) for path in snakemake.input.models],
        results=Path(snakemake.params.results),
        source_weights=Path(snakemake.input.source),
        metric=snakemake.params.metric,
        index=Path(snakemake.input.table),
        pixels=Path(snakemake.input.pixels),
        side=snakemake.params.side,
        run=run,
        predictions=out["predictions"],
        facts=out["facts"],
    )
