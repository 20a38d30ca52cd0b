from pathlib import Path

from cxr import acquisition
from cxr.journal import Journal
from cxr.release import ReleaseFile

with Journal(snakemake.log[0], f"download {snakemake.wildcards.file}") as tell:
    acquisition.acquire(
        ReleaseFile(**snakemake.params.file),
        Path(snakemake.params.root),
        store=Path(snakemake.output.done).parent,
        keep_archive=snakemake.params.keep_archive,
        attempts=snakemake.params.attempts,
        tell=tell,
    )
