import os
from pathlib import Path

from cxr import prediction, runs

with runs.of_job(snakemake, "predict cells", os.environ) as (run, out):
    prediction.cells(
        models=[Path(path) for path in snakemake.input.models],
        results=Path(snakemake.params.results),
        index=Path(snakemake.input.table),
        pixels=Path(snakemake.input.pixels),
        side=snakemake.params.side,
        run=run,
        predictions=out["predictions"],
        facts=out["facts"],
    )
