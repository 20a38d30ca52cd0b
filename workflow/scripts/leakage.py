import os
from pathlib import Path

from cxr.classifiers import fit, transfer
from cxr.settings import Schedule
from cxr.training import runs

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"leakage, repeat {job.draw}, half {job.half}", os.environ) as (run, out):
    transfer.train(
        inputs=fit.Inputs.of(snakemake),
        outputs=fit.Outputs(**out),
        start=transfer.Start(Path(snakemake.input.source), features=None, shared="training"),
        architecture=transfer.Architecture(snakemake.params.network, **snakemake.params.architecture),
        training=fit.Training(Schedule(**settings), balanced=False, select_by="auroc"),
        probed=0,
        run=run,
    )
