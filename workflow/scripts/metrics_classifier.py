from pathlib import Path

from cxr import evaluation
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import Evaluation

with (
    Journal(snakemake.log[0], f"metrics {snakemake.params.protocol} {snakemake.params.experiment}"),
    whole(snakemake.output.items()) as out,
):
    evaluation.write_classifier(
        protocol=snakemake.params.protocol,
        experiment=snakemake.params.experiment,
        activation=snakemake.params.activation,
        predictions=Path(snakemake.input.predictions),
        train_split=Path(snakemake.input.train),
        test_split=Path(snakemake.input.test),
        settings=Evaluation(**snakemake.params.evaluation),
        seed=snakemake.params.seed,
        table=out["table"],
    )
