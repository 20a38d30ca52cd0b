# The splits into training, validation and test images; and the boxed images as Pascal-VOC XML.


# Every split of a protocol: <size>/<role>.csv and <size>/leakage.csv for each size s and "all", <size>_r<number>/train.csv
# for further draws of the training images, and boxes_fold<fold>/.
checkpoint splits:
    input:
        records=of_records("records"),
        table=os.path.join(DATA_ROOT, TABLES["boxes"]),
        lists=LISTS,
    output:
        folder=directory("<results>/splits/{protocol}"),
    log:
        "<logs>/splits/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sizes=lambda wildcards: plans.sizes(protocol_of(wildcards)),
        draws=lambda wildcards: plans.drawn(protocol_of(wildcards)),
        rule=lambda wildcards: protocol_of(wildcards).split.model_dump(),
        seed=SETTINGS.seed,
        code=code("splits"),
    script:
        "../workflow/scripts/splits.py"


# One XML file per image, in the folder beside its manifest; only the manifest is tracked.
rule voc_split:
    input:
        split=lambda wildcards: split_file(wildcards.protocol, f"boxes_fold{wildcards.fold}", wildcards.role),
    output:
        manifest="<results>/voc/{protocol}/fold{fold}/{role}.csv",
    log:
        "<logs>/voc/{protocol}/fold{fold}_{role}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        folder=subpath(output.manifest, strip_suffix=".csv"),
        code=code("voc_split"),
    script:
        "../workflow/scripts/voc_split.py"
