from pathlib import Path

from cxr import source
from cxr.journal import Journal
from cxr.settings import Source

with Journal(snakemake.log[0], "source weights") as tell:
    source.prepare(
        settings=Source(**snakemake.params.settings),
        network=snakemake.params.network,
        image_size=snakemake.params.image_size,
        **snakemake.params.common,
        threads=snakemake.threads,
        model=Path(snakemake.output.model),
        history=Path(snakemake.output.history),
        facts=Path(snakemake.output.facts),
        tell=tell,
    )
