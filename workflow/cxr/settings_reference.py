"""The reference of all settings, generated from their definitions: config/README.md and config/schema.json."""

import json
import sys
from pathlib import Path
from typing import Any

from cxr.settings import DEFAULTS, Settings, allowed, fields, is_section

HEADER = """# Settings

A configuration file says only what differs from the defaults below. Without `--configfile`, `config.yaml` (the demo on
generated phantoms) is used; `paper.yaml` and `sound.yaml` are for the NIH release; `collapse.yaml` compares what makes
transfer collapse. Several files may be given, later ones win; any key can be set on the command line, nested ones as YAML:

    snakemake --configfile config/sound.yaml --config seed=1 'data={root: /data/CXR8}' 'sound={transfer: {sizes: [100, 500]}}'

An unknown key, or a value out of its range, stops the run before anything is done and names the key. This page and
`schema.json` (for editors) are generated from `workflow/cxr/settings.py` by `make docs`.

| key | default | allowed | meaning |
|---|---|---|---|
"""


def markdown() -> str:
    """Return the reference as Markdown: one row per setting, in the order of their definition."""
    defaults = DEFAULTS.model_dump()
    rows = []
    for path, field in fields(Settings):
        if is_section(field):
            rows.append(f"| **{path}** | | | {field.description} |")
        else:
            value = json.dumps(_at(defaults, path))
            rows.append(f"| {path} | `{value}` | {_kind(field)} | {field.description} |")
    return HEADER + "\n".join(rows) + "\n"


def schema() -> str:
    """Return the JSON schema of a configuration file: no key is required, and no other key is allowed."""
    return json.dumps(Settings.model_json_schema(), indent=1) + "\n"


def _at(values: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def _kind(field: Any) -> str:
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    limits = allowed(field).replace("|", "\\|")
    kind = names.get(field.annotation, "list" if "list" in str(field.annotation) else "")
    return ", ".join(part for part in (kind, limits) if part)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "README.md").write_text(markdown(), encoding="utf-8")
    (folder / "schema.json").write_text(schema(), encoding="utf-8")
