import yaml

from cxr import settings
from cxr.journal import Journal
from cxr.outputs import whole

# The one rule that takes the configuration as a whole, because it writes it down as a whole.
with Journal(snakemake.log[0], "settings"), whole(snakemake.output.items()) as out:
    resolved = settings.load(snakemake.config)
    out["file"].write_text(yaml.safe_dump(resolved.model_dump(), sort_keys=False), encoding="utf-8")
