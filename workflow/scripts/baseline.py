import os

from cxr.classifiers import baseline, fit
from cxr.settings import Schedule
from cxr.training import runs

settings = snakemake.params.settings
job = snakemake.wildcards
with runs.of_job(snakemake, f"baseline {job.protocol} {job.activation}", os.environ) as (run, out):
    baseline.train(
        inputs=fit.Inputs.of(snakemake),
        outputs=fit.Outputs(**out),
        activation=snakemake.wildcards.activation,
        network=snakemake.params.network,
        training=fit.Training(Schedule(**settings["training"]), settings["balanced"], snakemake.params.select_by),
        run=run,
    )
