# Metrics beside their floors, from saved predictions, and the report.


rule metrics_baseline:
    input:
        predictions="<results>/baseline/{protocol}/{activation}/predictions.csv",
        train=of_split("train", baseline_size),
        test=of_split("test", baseline_size),
    output:
        table="<results>/metrics/{protocol}/baseline_{activation}.csv",
    log:
        "<logs>/metrics/{protocol}/baseline_{activation}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        protocol="{protocol}",
        experiment="baseline_{activation}",
        activation="{activation}",
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_classifier"),
    script:
        "../workflow/scripts/metrics_classifier.py"


use rule metrics_baseline as metrics_transfer with:
    input:
        predictions="<results>/transfer_long/{protocol}/c{layers}_s{size}/predictions.csv",
        train=of_split("train"),
        test=of_split("test"),
    output:
        table="<results>/metrics/{protocol}/transfer_c{layers}_s{size}.csv",
    log:
        "<logs>/metrics/{protocol}/transfer_c{layers}_s{size}.log",
    params:
        protocol="{protocol}",
        experiment="transfer_c{layers}_s{size}",
        activation="sigmoid",
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_classifier"),


rule metrics_gridcnn:
    input:
        validation_predictions=rules.gridcnn.output.validation_predictions,
        predictions=rules.gridcnn.output.predictions,
        train=of_boxes("train"),
        validation=of_boxes("validation"),
        test=of_boxes("test"),
    output:
        table="<results>/metrics/{protocol}/gridcnn.csv",
        threshold="<results>/metrics/{protocol}/gridcnn_threshold.json",
    log:
        "<logs>/metrics/{protocol}/gridcnn.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        protocol="{protocol}",
        experiment="gridcnn",
        threshold=lambda wildcards: protocol_of(wildcards).gridcnn.threshold,
        tune=lambda wildcards: protocol_of(wildcards).gridcnn.tune_threshold,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_detector"),
    script:
        "../workflow/scripts/metrics_detector.py"


use rule metrics_gridcnn as metrics_yolo with:
    input:
        validation_predictions="<results>/yolo_{variant}/{protocol}/validation.csv",
        predictions="<results>/yolo_{variant}/{protocol}/predictions.csv",
        train=of_boxes("train"),
        validation=of_boxes("validation"),
        test=of_boxes("test"),
    output:
        table="<results>/metrics/{protocol}/yolo_{variant}.csv",
        threshold="<results>/metrics/{protocol}/yolo_{variant}_threshold.json",
    log:
        "<logs>/metrics/{protocol}/yolo_{variant}.log",
    wildcard_constraints:
        variant="off_the_shelf|finetuned",
    params:
        protocol="{protocol}",
        experiment="yolo_{variant}",
        threshold=lambda wildcards: protocol_of(wildcards).yolo.confidence,
        tune=lambda wildcards: protocol_of(wildcards).yolo.tune_confidence,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_detector"),


use rule metrics_gridcnn as metrics_torchvision_detector with:
    input:
        validation_predictions=rules.torchvision_detector.output.validation_predictions,
        predictions=rules.torchvision_detector.output.predictions,
        train=of_boxes("train"),
        validation=of_boxes("validation"),
        test=of_boxes("test"),
    output:
        table="<results>/metrics/{protocol}/torchvision_detector.csv",
        threshold="<results>/metrics/{protocol}/torchvision_detector_threshold.json",
    log:
        "<logs>/metrics/{protocol}/torchvision_detector.log",
    params:
        protocol="{protocol}",
        experiment="torchvision_detector",
        threshold=lambda wildcards: protocol_of(wildcards).torchvision_detector.confidence,
        tune=lambda wildcards: protocol_of(wildcards).torchvision_detector.tune_confidence,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("metrics_detector"),


# Test images with their boxes and what a detector says of them.
rule sheet_gridcnn:
    input:
        index=ancient(rules.images.output.index),
        predictions=rules.metrics_gridcnn.input.predictions,
        threshold=rules.metrics_gridcnn.output.threshold,
        test=of_boxes("test"),
    output:
        picture=report("<results>/sheets/{protocol}/gridcnn.png", category="Detection", labels={"detector": "grid CNN"}),
    log:
        "<logs>/sheets/{protocol}/gridcnn.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        store=STORE,
        box_size=SETTINGS.images.box_size,
        code=code("sheet"),
    script:
        "../workflow/scripts/sheet.py"


use rule sheet_gridcnn as sheet_yolo with:
    input:
        index=ancient(rules.images.output.index),
        predictions="<results>/yolo_{variant}/{protocol}/predictions.csv",
        threshold="<results>/metrics/{protocol}/yolo_{variant}_threshold.json",
        test=of_boxes("test"),
    output:
        picture=report(
            "<results>/sheets/{protocol}/yolo_{variant}.png",
            category="Detection",
            labels={"detector": "YOLO {variant}"},
        ),
    log:
        "<logs>/sheets/{protocol}/yolo_{variant}.log",
    wildcard_constraints:
        variant="off_the_shelf|finetuned",


use rule sheet_gridcnn as sheet_torchvision_detector with:
    input:
        index=ancient(rules.images.output.index),
        predictions=rules.metrics_torchvision_detector.input.predictions,
        threshold=rules.metrics_torchvision_detector.output.threshold,
        test=of_boxes("test"),
    output:
        picture=report(
            "<results>/sheets/{protocol}/torchvision_detector.png",
            category="Detection",
            labels={"detector": "torchvision detector"},
        ),
    log:
        "<logs>/sheets/{protocol}/torchvision_detector.log",


rule examples:
    input:
        index=ancient(rules.images.output.index),
        records=of_records("records"),
    output:
        picture=report("<results>/sheets/examples.png", category="Data", labels={"detector": "examples of the images"}),
    log:
        "<logs>/sheets/examples.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        store=STORE,
        size=SETTINGS.images.size,
        seed=SETTINGS.seed,
        code=code("examples"),
    script:
        "../workflow/scripts/examples.py"


rule report:
    input:
        settings=rules.settings.output[0],
        summary=of_records("summary"),
        rejected=of_records("rejected"),
        leakage=leakage,
        metrics=of_experiments("<results>/metrics/{protocol}/{experiment}.csv"),
        long_metrics=of_long_runs("<results>/metrics/{protocol}/transfer_{pair}.csv"),
        facts=of_experiments("{folder}/facts.json"),
        long_facts=of_long_runs("<results>/transfer_long/{protocol}/{pair}/facts.json"),
        histories=[
            f"{folder}/history.csv"
            for (_, experiment), folder in FOLDERS.items()
            if experiment != "yolo_off_the_shelf"
        ],
        long_histories=of_long_runs("<results>/transfer_long/{protocol}/{pair}/history.csv"),
        source=[rules.source_weights.output.facts, rules.source_weights.output.history],
        grids=expand("<results>/transfer/{protocol}/grid.csv", protocol=SETTINGS.protocols),
        selected=expand("<results>/transfer/{protocol}/selected.csv", protocol=SETTINGS.protocols),
        sheets=[f"<results>/sheets/{name}/{detector}.png" for name, detector in DETECTORS],
        examples=rules.examples.output[0],
        voc=expand("<results>/voc/{protocol}/{role}.csv", protocol=SETTINGS.protocols, role=ROLES),
    output:
        page=report("<results>/report.html", category="Report", labels={"detector": "all experiments"}),
        tables=directory("<results>/tables"),
    log:
        "<logs>/report.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        skipped=[[*key, reason] for key, reason in SKIPPED.items()],
        code=code("report", "report.html.j2"),
    script:
        "../workflow/scripts/report.py"
