import os

from cxr import runs, source
from cxr.journal import Journal
from cxr.outputs import whole
from cxr.settings import Source

with (
    Journal(snakemake.log[0], "source weights") as tell,
    runs.started(
        params=dict(snakemake.params.items()),
        inputs=dict(snakemake.input.items()),
        threads=snakemake.threads,
        environment=os.environ,
        tell=tell,
    ) as run,
    whole(snakemake.output.items()) as out,
):
    source.prepare(
        settings=Source(**snakemake.params.settings),
        network=snakemake.params.network,
        image_size=snakemake.params.image_size,
        run=run,
        model=out["model"],
        fingerprint=out["fingerprint"],
        history=out["history"],
        facts=out["facts"],
    )
