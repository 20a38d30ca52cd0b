# Who is trained on, validated on and tested on; and the boxed images as Pascal-VOC XML.


rule split:
    input:
        records=rules.records.output.records,
        lists=LISTS,
    output:
        train="<results>/splits/{protocol}/{size}/train.csv",
        validation="<results>/splits/{protocol}/{size}/validation.csv",
        test="<results>/splits/{protocol}/{size}/test.csv",
        leakage="<results>/splits/{protocol}/{size}/leakage.csv",
    log:
        "<logs>/split/{protocol}/{size}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rule=lambda wildcards: chosen(
            protocol_of(wildcards).split, "rule", "validation", "test", "max_validation", "max_test"
        ),
        seed=SETTINGS.seed,
        code=code("splitting"),
    script:
        "../workflow/scripts/split.py"


rule split_boxes:
    input:
        records=rules.records.output.records,
        boxes=rules.records.output.boxes,
        table=rules.records.input.boxes,
    output:
        train="<results>/splits/{protocol}/boxes/train.csv",
        validation="<results>/splits/{protocol}/boxes/validation.csv",
        test="<results>/splits/{protocol}/boxes/test.csv",
        leakage="<results>/splits/{protocol}/boxes/leakage.csv",
    log:
        "<logs>/split_boxes/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rule=lambda wildcards: chosen(protocol_of(wildcards).split, "box_validation", "box_test", "box_group"),
        seed=SETTINGS.seed,
        code=code("splitting"),
    script:
        "../workflow/scripts/split_boxes.py"


# One XML file an image, in the folder beside its manifest; only the manifest is tracked.
rule voc_split:
    input:
        split="<results>/splits/{protocol}/boxes/{role}.csv",
    output:
        manifest="<results>/voc/{protocol}/{role}.csv",
    log:
        "<logs>/voc/{protocol}/{role}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folder=subpath(output.manifest, strip_suffix=".csv"),
        code=code("voc"),
    script:
        "../workflow/scripts/voc_split.py"
