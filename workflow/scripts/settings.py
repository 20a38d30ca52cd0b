import os

import yaml

from cxr import settings
from cxr.runtime import jobs

# The one rule that takes the configuration as a whole, because it writes it down as a whole.
with jobs.opened(snakemake, "settings", os.environ) as (_, out):
    resolved = settings.load(snakemake.config)
    out["file"].write_text(yaml.safe_dump(resolved.model_dump(), sort_keys=False), encoding="utf-8")
