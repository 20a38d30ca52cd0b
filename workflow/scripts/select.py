from pathlib import Path

from cxr import selection
from cxr.journal import Journal
from cxr.outputs import whole

with Journal(snakemake.log[0], f"select {snakemake.wildcards.protocol}"), whole(snakemake.output.items()) as out:
    selection.write_grid(
        pairs=snakemake.params.pairs,
        predictions=[Path(path) for path in snakemake.input.predictions],
        facts=[Path(path) for path in snakemake.input.facts],
        train_splits=[Path(path) for path in snakemake.input.train],
        validation_splits=[Path(path) for path in snakemake.input.validation],
        **snakemake.params.settings,
        grid=out["grid"],
        selected=out["selected"],
    )
