"""Says in a few lines what a dry run of Snakemake would do and why: rule, number of jobs, reasons. Reads its output."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

BLOCK = re.compile(r"^( *)(?:local)?(?:rule|checkpoint) (\w+):\n((?:\1    .*\n)*)", re.M)  # indented in a group
KINDS = {
    "Missing output files": "never made, or deleted",
    "Updated input files": "changed content of",
    "Input files updated by another job": "remade before it:",
    "Set of input files has changed since last execution": "a different set of input files",
    "Params have changed since last execution": "changed settings or code",
    "Software environment definition has changed since last execution": "changed software environment",
    "Forced execution": "forced by --forcerun, or left unfinished by a killed run",
    "Code has changed since last execution": "changed code",
}
SHOWN = 2  # files named for each reason


def summary(text: str) -> str:
    """Lay out rules with their numbers of jobs and reasons, in the order of the plan.

    text: what `snakemake --dry-run` prints.
    """
    if "Nothing to be done" in text:
        return "nothing to do: all results match the current data, settings and code"
    jobs: Counter[str] = Counter()
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for _, rule, body in BLOCK.findall(text):
        jobs[rule] += 1
        line = re.search(r"^ +reason: (.*)$", body, re.M)
        for kind, files in _reasons(line[1] if line else ""):
            reasons[rule][kind] += files
    width = max(map(len, jobs), default=0)
    lines = [f"{'jobs':>5}  {'rule':<{width}}  why"]
    for rule, count in jobs.items():
        if rule != "all":
            told = "; ".join(_told(kind, files) for kind, files in reasons[rule].items())
            lines.append(f"{count:>5}  {rule:<{width}}  {told or 'requested'}")
    return "\n".join(lines)


def _reasons(text: str) -> Iterator[tuple[str, list[str]]]:
    for part in text.split("; "):
        kind, _, rest = part.partition(": ")
        if kind in KINDS:
            yield KINDS[kind], [] if kind.startswith("Params") else rest.split(", ") if rest else []


def _told(kind: str, files: Iterable[str]) -> str:
    names = sorted({file.strip() for file in files if file.strip()})
    if not names:
        return kind
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{kind} {', '.join(names[:SHOWN])}{more}"


if __name__ == "__main__":
    output = sys.stdin.read()
    if not BLOCK.search(output) and "Nothing to be done" not in output:
        sys.exit(output)  # no plan: Snakemake's own message says why
    print(summary(output))
