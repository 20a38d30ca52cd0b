# The public release, fetched into data.root, only on request (`snakemake download`). No rule reads the files below
# `downloaded/`, and the tables and images are no rule's output, so that nothing else can ever start a download.


include: "inputs/download.smk"


# As many downloads at a time as download.parallel says, unless --resources download=... says otherwise.
if "download" not in workflow.global_resources:
    workflow.register_resource("download", SETTINGS.download.parallel)


# On the machine where Snakemake runs: compute nodes of a cluster often have no internet access.
localrules:
    download,
    release_file,


rule download:
    input:
        everything_downloaded,


# Changed code does not re-run this rule: the bytes of the release do not depend on it.
rule release_file:
    output:
        done=f"{DATA_ROOT}/downloaded/{{file}}.json",
    log:
        "<logs>/download/{file}.log",
    wildcard_constraints:
        file="[A-Za-z0-9_][A-Za-z0-9._-]*",
    conda:
        "../envs/data.yaml"
    resources:
        download=1,
        mem_mb=500,
        runtime=720,
    params:
        file=release_file,
        root=lambda wildcards: DATA_ROOT,
        keep_archive=SETTINGS.download.keep_archives,
        attempts=SETTINGS.download.attempts,
    script:
        "../workflow/scripts/release_file.py"
