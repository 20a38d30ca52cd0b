import os
from pathlib import Path

from cxr.classifiers import fit, transfer
from cxr.runtime import bundle
from cxr.runtime.journal import Journal
from cxr.runtime.outputs import whole
from cxr.settings import Schedule
from cxr.training import runs

settings = snakemake.params.settings
wildcards = snakemake.wildcards
pair = f"c={wildcards.layers} s={wildcards.size}{wildcards.get('repeat', '')}"
with (
    Journal(snakemake.log[0], f"{snakemake.rule} {wildcards.protocol} {pair}") as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    bundle.once(
        snakemake.output.items(),
        Path(snakemake.params.state),
        run.identity["key"],
        os.environ.get("SLURM_JOB_NAME", ""),  # the same for all jobs of a run
        tell,
    ),
    whole(snakemake.output.items()) as out,
):
    transfer.train(
        inputs=fit.Inputs.of(snakemake),
        outputs=fit.Outputs(**out),
        start=transfer.Start(
            source_weights=Path(snakemake.input.source),
            features=next(map(Path, snakemake.input.get("features", [])), None),
            shared=snakemake.params.shared,
        ),
        architecture=transfer.Architecture(
            network=snakemake.params.network,
            layers=int(wildcards.layers),
            head_input=settings["head_input"],
            frozen_batchnorm=settings["frozen_batchnorm"],
            head_init=settings["head_init"],
        ),
        training=fit.Training(
            Schedule(**settings["schedule"]), settings["balanced"], settings["select_by"], settings["repeat"]
        ),
        probed=settings["probed"],
        run=run,
    )
