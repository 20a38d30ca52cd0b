import os
from pathlib import Path

from cxr.report import collapse
from cxr.runtime import jobs

kinds = ("predictions", "facts", "scores", "train", "test")
with jobs.opened(snakemake, f"compare {snakemake.wildcards.protocol}", os.environ) as (tell, out):
    collapse.write(
        jobs=snakemake.params.jobs,
        **{kind: [Path(path) for path in snakemake.input[kind]] for kind in kinds},
        table=out["table"],
        picture=out["picture"],
        tell=tell,
    )
