# What the paper's comparisons claim, measured for the report's ledger from the predictions of several experiments.


include: "inputs/ledger.smk"


rule claims:
    input:
        baselines=[
            "<results>/baseline/{protocol}/softmax/predictions.csv",
            "<results>/baseline/{protocol}/sigmoid/predictions.csv",
        ],
        baseline_floors=of_baseline_floors(""),
        baseline_test=of_baseline("test"),
        long_predictions=of_chosen("<results>/transfer_long/{protocol}/{pair}/predictions.csv"),
        long_floors=of_chosen("<results>/floors/{protocol}/{size}.npz"),
        long_test=of_chosen_tests,
        gridcnn=of_folds("<results>/gridcnn/{protocol}/fold{fold}/predictions.npz"),
        gridcnn_validation=of_folds("<results>/gridcnn/{protocol}/fold{fold}/validation.npz"),
        yolo=of_yolo("predictions.csv"),
        yolo_validation=of_yolo("validation.csv"),
        boxed_train=of_all_boxes("train"),
        boxed_validation=of_all_boxes("validation"),
        boxed_test=of_all_boxes("test"),
    output:
        table="<results>/ledger/{protocol}.csv",
    log:
        "<logs>/ledger/{protocol}.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        pairs=lambda wildcards: selected_pairs(wildcards.protocol),
        thresholds=thresholds_of,
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("claims"),
    script:
        "../workflow/scripts/claims.py"
