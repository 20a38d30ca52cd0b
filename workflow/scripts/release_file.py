from pathlib import Path

from cxr.download import acquire
from cxr.download.release import ReleaseFile
from cxr.runtime.journal import Journal

with Journal(snakemake.log[0], f"download {snakemake.wildcards.file}") as tell:
    acquire.acquire(
        ReleaseFile(**snakemake.params.file),
        Path(snakemake.params.root),
        store=Path(snakemake.output.done).parent,
        keep_archive=snakemake.params.keep_archive,
        attempts=snakemake.params.attempts,
        tell=tell,
    )
