# The two ResNet baselines, trained from scratch (paper, section 2.1).


rule baseline:
    input:
        index=ancient(rules.images.output.index),
        train=of_split("train", baseline_size),
        validation=of_split("validation", baseline_size),
        predicted=of_split("test_images", baseline_size),
    output:
        model="<results>/baseline/{protocol}/{activation}/model.pt",
        predictions="<results>/baseline/{protocol}/{activation}/predictions.csv",
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
        common=COMMON,
        state=f"{RESULTS}/state/baseline/{{protocol}}_{{activation}}",
        store=STORE,
        image_size=SETTINGS.images.size,
        network=SETTINGS.network.name,
        augment=lambda wildcards: protocol_of(wildcards).augment.model_dump(),
        settings=lambda wildcards: chosen(protocol_of(wildcards).baseline, "balanced", "training"),
        select_by=lambda wildcards: protocol_of(wildcards).transfer.select_by,
        code=code("baseline"),
    script:
        "../workflow/scripts/baseline.py"
