# What the tables say of labels and boxes without an image: needs neither images nor a trained model.


rule label_floors:
    input:
        labels=os.path.join(DATA_ROOT, TABLES["labels"]),
        lists=LISTS,
    output:
        table="<results>/floors/labels.csv",
        text="<results>/floors/labels.txt",
    log:
        "<logs>/floors.log",
    conda:
        "../envs/data.yaml"
    threads: 4  # splits at a time
    resources:
        mem_mb=growing(8000),
        runtime=growing(30),
    params:
        protocols={
            name: (getattr(SETTINGS, name).split.model_dump(), plans.sizes(getattr(SETTINGS, name)))
            for name in SETTINGS.protocols
        },
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("floors"),
    script:
        "../workflow/scripts/floors.py"


rule box_floors:
    input:
        labels=os.path.join(DATA_ROOT, TABLES["labels"]),
        boxes=os.path.join(DATA_ROOT, TABLES["boxes"]),
    output:
        table="<results>/floors/boxes.csv",
        text="<results>/floors/boxes.txt",
    log:
        "<logs>/box_floors.log",
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(20),
    params:
        protocols={name: getattr(SETTINGS, name).split.model_dump() for name in SETTINGS.protocols},
        evaluation=SETTINGS.evaluation.model_dump(),
        seed=SETTINGS.seed,
        code=code("box_floors"),
    script:
        "../workflow/scripts/box_floors.py"
