from pathlib import Path

import yaml

from cxr.journal import Journal

with Journal(snakemake.log[0], "settings"):
    Path(snakemake.output[0]).write_text(yaml.safe_dump(dict(snakemake.params.settings), sort_keys=False))
