from pathlib import Path

from cxr import comparison
from cxr.journal import Journal
from cxr.outputs import whole

kinds = ("predictions", "facts", "scores", "train", "test")
with (
    Journal(snakemake.log[0], f"compare {snakemake.wildcards.protocol}") as tell,
    whole(snakemake.output.items()) as out,
):
    comparison.write(
        jobs=snakemake.params.jobs,
        **{kind: [Path(path) for path in snakemake.input[kind]] for kind in kinds},
        table=out["table"],
        picture=out["picture"],
        tell=tell,
    )
