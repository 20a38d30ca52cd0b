import os
from pathlib import Path

from cxr import classification, finished, runs, transfer
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import Schedule

settings = dict(snakemake.params.settings)
wildcards = snakemake.wildcards
with (
    Journal(snakemake.log[0], f"{snakemake.rule} {wildcards.protocol} c={wildcards.layers} s={wildcards.size}") as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    finished.once(
        snakemake.output.items(),
        Path(snakemake.params.state),
        run.identity["key"],
        os.environ.get("SLURM_JOB_NAME", ""),  # the same for all jobs of a run
        tell,
    ),
    whole(snakemake.output.items()) as out,
):
    transfer.train(
        inputs=classification.Inputs.of(snakemake),
        predicted=Path(snakemake.input.predicted),
        outputs=classification.Outputs(**out),
        source_weights=Path(snakemake.input.source),
        stored=next(map(Path, snakemake.input.get("features", [])), None),
        shared=snakemake.params.shared,
        network=snakemake.params.network,
        layers=int(wildcards.layers),
        schedule=Schedule(**settings.pop("schedule")),
        **settings,
        run=run,
    )
