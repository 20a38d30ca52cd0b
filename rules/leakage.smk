# What recognising patients is worth: networks trained on one half of the patients each, tested on images of both.


include: "inputs/leakage.smk"


checkpoint leakage_splits:
    input:
        records=of_records("records"),
    output:
        folder=directory("<results>/leakage/splits"),
    log:
        "<logs>/leakage/splits.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        design=chosen(SETTINGS.leakage, "size", "held_out", "test"),
        repeats=SETTINGS.leakage.repeats,
        seed=SETTINGS.seed,
        code=code("leakage_splits"),
    script:
        "../workflow/scripts/leakage_splits.py"


rule leakage_network:
    input:
        source=ancient(rules.source_weights.output.model),
        fingerprint=rules.source_weights.output.fingerprint,
        index=ancient(rules.images.output.index),
        train=of_leakage("{draw}/train_{half}.csv"),
        validation=of_leakage("{draw}/validation_{half}.csv"),
        predicted=of_leakage("{draw}/test_images.csv"),
    output:
        model="<results>/leakage/{draw}{half}/model.pt",
        predictions="<results>/leakage/{draw}{half}/predictions.csv",
        history="<results>/leakage/{draw}{half}/history.csv",
        facts="<results>/leakage/{draw}{half}/facts.json",
    log:
        "<logs>/leakage/{draw}{half}.log",
    benchmark:
        "<benchmarks>/leakage/{draw}{half}.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=growing(8000),
        runtime=growing(480),
    params:
        **CLASSIFIER
        | {
            "common": lambda wildcards: COMMON | {"seed": SETTINGS.seed + int(wildcards.draw)},
            "augment": SETTINGS.leakage.augment.model_dump(),
        },
        state=f"{RESULTS}/state/leakage/{{draw}}{{half}}",
        settings=SETTINGS.leakage.model_dump()["training"],
        architecture={
            "layers": SETTINGS.leakage.layers,
            "head_input": "features",
            "frozen_batchnorm": "eval",
            "head_init": "torch",
        },
        code=code("leakage"),
    script:
        "../workflow/scripts/leakage.py"


use rule ladder as leakage_floors with:
    input:
        train=of_leakage("{draw}/train_{half}.csv"),
        train_metadata=of_leakage("{draw}/train_metadata_{half}.csv"),
        test_metadata=of_leakage("{draw}/test_metadata.csv"),
    output:
        ladder="<results>/leakage/{draw}{half}/floors.npz",
    log:
        "<logs>/leakage/floors_{draw}{half}.log",


rule metrics_leakage:
    input:
        train=of_half_splits("{draw}/train_{half}.csv"),
        predictions=of_half_runs("<results>/leakage/{draw}{half}/predictions.csv"),
        floors=of_half_runs("<results>/leakage/{draw}{half}/floors.npz"),
        test=of_repeats("test.csv"),
    output:
        table="<results>/leakage/leakage.csv",
    log:
        "<logs>/leakage/metrics.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_leakage"),
    script:
        "../workflow/scripts/metrics_leakage.py"
