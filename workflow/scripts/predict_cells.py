import os
from pathlib import Path

from cxr import prediction, runs
from cxr.journal import Journal
from cxr.outputs import whole

with (
    Journal(snakemake.log[0], "predict cells") as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    whole(snakemake.output.items()) as out,
):
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
