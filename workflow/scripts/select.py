from pathlib import Path

from cxr import selection
from cxr.journal import Journal

with Journal(snakemake.log[0], f"select {snakemake.wildcards.protocol}"):
    selection.write_grid(
        pairs=snakemake.params.pairs,
        predictions=[Path(path) for path in snakemake.input.predictions],
        facts=[Path(path) for path in snakemake.input.facts],
        train_splits=[Path(path) for path in snakemake.input.train],
        validation_splits=[Path(path) for path in snakemake.input.validation],
        **snakemake.params.settings,
        grid=Path(snakemake.output.grid),
        selected=Path(snakemake.output.selected),
    )
