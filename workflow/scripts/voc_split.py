from pathlib import Path

from cxr import splits, voc
from cxr.journal import Journal
from cxr.outputs import whole

with (
    Journal(
        snakemake.log[0],
        f"voc {snakemake.wildcards.protocol} fold {snakemake.wildcards.fold} {snakemake.wildcards.role}",
    ) as tell,
    whole(snakemake.output.items()) as out,
):
    manifest = voc.write_split(splits.read_split(Path(snakemake.input.split)), Path(snakemake.params.folder))
    manifest.to_csv(out["manifest"], index=False)
    tell(f"{len(manifest)} XML files in {snakemake.params.folder}")
