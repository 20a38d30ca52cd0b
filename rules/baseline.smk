# The two ResNet baselines, trained from scratch (paper, section 2.1).


include: "inputs/classifiers.smk"


rule baseline:
    input:
        index=ancient(rules.images.output.index),
        train=of_baseline("train"),
        validation=of_baseline("validation"),
        predicted=of_baseline("test_images"),
    output:
        model="<results>/baseline/{protocol}/{activation}/model.pt",
        predictions="<results>/baseline/{protocol}/{activation}/predictions.csv",
        validation_predictions="<results>/baseline/{protocol}/{activation}/validation.csv",
        history="<results>/baseline/{protocol}/{activation}/history.csv",
        facts="<results>/baseline/{protocol}/{activation}/facts.json",
    log:
        "<logs>/baseline/{protocol}/{activation}.log",
    benchmark:
        "<benchmarks>/baseline/{protocol}/{activation}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(1440),
    params:
        **CLASSIFIER,
        state=f"{RESULTS}/state/baseline/{{protocol}}_{{activation}}",
        settings=lambda wildcards: chosen(protocol_of(wildcards).baseline, "balanced", "training"),
        select_by=lambda wildcards: protocol_of(wildcards).transfer.select_by,
        code=code("baseline"),
    script:
        "../workflow/scripts/baseline.py"
