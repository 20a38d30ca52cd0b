"""Settings of a run: the one place where a setting is defined, with its unit, range, default and meaning.

``config/README.md`` and ``config/schema.json`` are generated from here (``make docs``). A configuration file says only
what differs from the defaults below; ``load`` merges it over them key by key, and lists are replaced whole.
"""

import difflib
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cxr.errors import InputError

# A key of the configuration has this name, and nothing calls the method of pydantic's first version that it hides.
warnings.filterwarnings("ignore", message='Field name "validate" in "Settings" shadows')
PAPER_SIZES = [100, 200, 300, 400, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def received(self) -> dict[str, Any]:
        """Return the settings that were given, without defaults: a job gets, and records, only those that it uses."""
        return self.model_dump(exclude_unset=True)


def setting(default: Any, meaning: str, **limits: Any) -> Any:
    return Field(default, description=meaning, validate_default=True, **limits)


class Data(Section):
    source: Literal["phantoms", "nih"] = setting("nih", "Where images come from: generated phantoms, or an NIH folder.")
    root: str = setting("data/nih", "Folder of the NIH release; images are found anywhere below it.")
    label_table: str = setting(
        "Data_Entry_2017_v2020.csv",
        "Label table, relative to root (or absolute). An official table name without a folder, here and below, is also "
        "found where Kaggle's or Hugging Face's copy of the release has it.",
    )
    box_table: str = setting("BBox_List_2017.csv", "Box list, relative to root (or absolute).")
    train_val_list: str = setting("", "Official list of training images, relative to root; empty: none.")
    test_list: str = setting("", "Official list of test images, relative to root; empty: none.")
    include: list[str] = setting(
        [],
        "Patterns for image paths relative to root; only images that match one are used; empty: all. `*` matches any "
        "characters, including `/`; `?` matches one. Case matters. A pattern that matches a folder includes everything in "
        "it: `[images_*/images]`.",
    )
    exclude: list[str] = setting(
        [], "Patterns as in include; images that match one are not used: `[gradcam, images-224, '*/thumbs/*']`."
    )
    bits: int = setting(
        0,
        "Significant bits of 16-bit PNG files without an sBIT chunk: 2^bits - 1 is white. 0: use the smallest of 8, 10, 12, 14 "
        "and 16 bits that holds the highest value in all these files. A file whose values all stay below a sixteenth of that "
        "white, which would look black, gets its own bits by the same rule. (The brightest one in 10,000 pixels of each image is "
        "ignored.) The summary says what was found.",
        ge=0,
        le=16,
    )


class Phantoms(Section):
    patients: int = setting(260, "Number of patients to generate.", ge=10, le=100_000)
    images: int = setting(720, "Number of images to generate; each patient has one or more.", ge=20, le=1_000_000)
    boxed: int = setting(260, "Number of images with boxes; all are in the test list, as in the release.", ge=8)
    size: int = setting(1024, "Side of a generated image in pixels.", ge=128, le=2048)


class Images(Section):
    size: int = setting(224, "Side in pixels at which classifiers read an image.", ge=32, le=1024)
    box_size: int = setting(1024, "Side in pixels at which detectors read a boxed image.", ge=64, le=1024)


class Schedule(Section):
    epochs: int = setting(5, "Epochs.", ge=1, le=10_000)
    steps: int = setting(100, "Optimiser steps per epoch; 0: one pass over the training images.", ge=0)
    batch: int = setting(32, "Images per step.", ge=1, le=4096)
    optimizer: Literal["sgd", "adam", "adamw"] = setting("adam", "Optimiser.")
    learning_rate: float = setting(1e-3, "Peak learning rate.", gt=0, le=10)
    weight_decay: float = setting(0.0, "Weight decay.", ge=0, le=1)
    decay: Literal["constant", "cosine"] = setting("constant", "Learning-rate schedule (cosine has 5% warm-up).")
    keep: Literal["last", "best"] = setting(
        "last", "Which epoch's weights to keep: the last, or the best on validation."
    )
    patience: int = setting(
        0,
        "Early stopping: end training after this many epochs without a better validation score (keep: best); 0: never.",
        ge=0,
    )
    average: float = setting(
        0.0,
        "Decay per step of a running mean of the weights; the mean is then validated and kept. 0: no mean.",
        ge=0,
        lt=1,
    )

    @model_validator(mode="after")
    def _stopping(self) -> "Schedule":
        if self.patience and self.keep == "last":
            raise ValueError("patience stops after the best epoch, whose weights only keep: best keeps")
        return self


class Source(Section):
    kind: Literal["random", "textures", "imagenet", "file"] = setting(
        "imagenet",
        "Weights that transfer starts from: random, pre-trained here on generated textures, torchvision's, or a file.",
    )
    file: str = setting("", "Checkpoint: any for `file`; for `imagenet`, a local copy to use instead of the hub.")
    sha256: str = setting("", "SHA-256 of the file (its first 8 or more hex digits suffice); empty: not checked.")
    images: int = setting(4000, "Textures generated for pre-training (kind: textures).", ge=100)
    training: Schedule = setting(
        Schedule(epochs=4, steps=0, batch=32, optimizer="adamw", learning_rate=2e-3, weight_decay=1e-2, decay="cosine"),
        "Schedule of the pre-training (kind: textures).",
    )


class Network(Section):
    name: Literal["resnet50", "resnet18", "resnet10"] = setting(
        "resnet50", "Network of the baselines and of transfer; resnet10 is a narrow one for CPUs."
    )


class Augment(Section):
    horizontal_flip: float = setting(0.0, "Probability of a left-right flip.", ge=0, le=1)
    vertical_flip: float = setting(0.0, "Probability of an upside-down flip.", ge=0, le=1)
    rotation: float = setting(0.0, "Largest rotation, degrees.", ge=0, le=180)
    shift: float = setting(0.0, "Largest shift, fraction of the side.", ge=0, le=0.5)
    zoom: float = setting(0.0, "Largest relative change of scale.", ge=0, le=0.5)
    brightness: float = setting(0.0, "Largest relative change of contrast and brightness.", ge=0, le=0.9)
    gamma: float = setting(
        0.0, "Largest change of the exponent of the grey levels, as a natural logarithm.", ge=0, le=2
    )


class Split(Section):
    rule: Literal["image", "patient", "official"] = setting(
        "patient",
        "image: images at random, each size split on its own; patient: patients at random, one validation and test set "
        "for every size; official: the release's test list, patients at random for validation. With the last two, a size "
        "takes one image of every patient before the second of any.",
    )
    validation: float = setting(0.1, "Share of images (or patients) for validation.", gt=0, lt=0.5)
    test: float = setting(0.1, "Share of images (or patients) for testing (not used by `official`).", gt=0, lt=0.5)
    max_validation: int = setting(0, "Largest number of validation images used, in the order of a size; 0: all.", ge=0)
    max_test: int = setting(0, "Largest number of test images used, in the order of a size; 0: all.", ge=0)
    box_validation: float = setting(
        0.1, "Share of boxed images for validation; 0: validate on the test images.", ge=0, lt=1
    )
    box_test: float = setting(0.2, "Share of boxed images for testing; not used with more than one fold.", gt=0, lt=1)
    box_folds: int = setting(
        1,
        "Folds of the boxed images. 1: a single split by box_validation and box_test. More: every detector is trained once "
        "per fold and every boxed image is tested once (needs box_validation above 0).",
        ge=1,
        le=100,
    )
    box_group: Literal["image", "patient"] = setting(
        "patient", "Unit of the box split: all images of a patient stay together, or each image is drawn on its own."
    )


class Baseline(Section):
    size: int = setting(0, "Number of images used (a size s of the split); 0: all.", ge=0)
    training: Schedule = setting(Schedule(epochs=10, steps=0, batch=32), "Schedule of both baselines.")
    balanced: bool = setting(False, "Weight positives by the rarity of their label in the sigmoid loss.")


HeadInput = Literal["softmax", "logits", "features"]
FrozenBatchNorm = Literal["eval", "batch", "keras"]
HeadInit = Literal["torch", "glorot"]


class Comparison(Section):
    layers: list[int] = setting([], "Values of c to compare; empty: no comparison.")
    sizes: list[int] = setting([], "Values of s to compare; empty: no comparison.")
    head_input: list[HeadInput] = setting(
        ["softmax", "logits", "features"], "Values of head_input to compare.", min_length=1
    )
    frozen_batchnorm: list[FrozenBatchNorm] = setting(
        ["eval", "batch", "keras"], "Values of frozen_batchnorm to compare.", min_length=1
    )

    @field_validator("layers", "sizes", "head_input", "frozen_batchnorm")
    @classmethod
    def _once(cls, values: list[Any], info: Any) -> list[Any]:
        lowest = {"layers": 0, "sizes": 10}.get(info.field_name)
        if len(set(values)) < len(values) or (lowest is not None and min(values, default=lowest) < lowest):
            raise ValueError("each value once" + ("" if lowest is None else f", none below {lowest}"))
        return values

    @property
    def variants(self) -> list[tuple[str, str]]:
        """Pairs (head_input, frozen_batchnorm) to compare; none without a pair (c, s)."""
        configured = self.layers and self.sizes
        return [(head, norm) for head in self.head_input for norm in self.frozen_batchnorm] if configured else []


class Transfer(Section):
    layers: list[int] = setting(
        list(range(20)), "Axis c: number of trainable layers with parameters, counted from the end."
    )
    sizes: list[int] = setting(PAPER_SIZES, "Axis s: number of images.")
    head_input: HeadInput = setting(
        "softmax", "What the added 15-way layer reads: 1000-way probabilities, 1000-way logits, or pooled features."
    )
    frozen_batchnorm: FrozenBatchNorm = setting(
        "eval",
        "Statistics that frozen batch norm normalises with. eval: the source's. batch: the batch's in training; in testing the "
        "stored ones, which training goes on updating. keras: the batch's in training, the source's in testing (as frozen "
        "layers did from Keras 2.1.3 until TensorFlow 2).",
    )
    head_init: HeadInit = setting(
        "torch",
        "First weights of the added layer, uniform. torch: weights and biases within ±1/√inputs. glorot: weights within "
        "±√(6 / (inputs + outputs)), biases 0, as Keras' Dense.",
    )
    balanced: bool = setting(False, "Weight positives by the rarity of their label in the loss.")
    features_gb: float = setting(
        60, "Disk space in GB for the shared outputs of the frozen layers; 0: every job runs the whole network.", ge=0
    )
    select_by: Literal["accuracy", "auroc"] = setting("accuracy", "Validation metric that selects the pairs (c, s).")
    select: int = setting(2, "Number of best pairs to train long.", ge=1, le=20)
    repeats: int = setting(
        1,
        "Trainings of each pair of the grid: each draws other training images and has a seed of its own. More than 1: pairs "
        "are chosen by their mean, and the report shows the spread and what causes it.",
        ge=1,
        le=20,
    )
    training: Schedule = setting(Schedule(), "Schedule of each job of the grid.")
    long: Schedule = setting(Schedule(epochs=100), "Schedule of each long run.")
    comparison: Comparison = setting(
        Comparison(),
        "Which choices make a model collapse to the majority classifier (the target `collapse`; a section of the report).",
    )

    @field_validator("layers", "sizes")
    @classmethod
    def _axis(cls, values: list[int], info: Any) -> list[int]:
        lowest = 0 if info.field_name == "layers" else 10
        if not values or min(values) < lowest or len(set(values)) < len(values):
            raise ValueError(f"an axis needs at least one value, each once, none below {lowest}")
        return sorted(values)


class YoloV2(Section):
    enabled: bool = setting(False, "Whether to run YOLOv2, the paper's own network, off the shelf and fine-tuned.")
    pretrained: str = setting(
        "",
        "Darknet weights file (yolov2.weights of the authors has 80 COCO classes), used off the shelf and for fine-tuning; "
        "empty: none, and the network is trained from scratch.",
    )
    sha256: str = setting(
        "", "SHA-256 of the weights file (its first 8 or more hex digits suffice); empty: not checked."
    )
    network: Literal["yolov2", "yolov2-tiny"] = setting(
        "yolov2", "The paper's network or its tiny version, for the 80 classes of COCO, unless a cfg is given."
    )
    cfg: str = setting(
        "", "Darknet cfg of another network with a region layer, to which the weights belong; empty: none."
    )
    anchors: list[float] = setting(
        [],
        "Anchors of the fine-tuned network: width and height of each in turn, in cells of 32 pixels; empty: those of its "
        "network, for yolov2 the authors' five.",
        max_length=40,
    )
    image_size: int = setting(416, "Side in pixels at which YOLOv2 reads an image.", ge=64, le=1280, multiple_of=32)
    trainable: int = setting(
        2,
        "Number of convolutions to train, counted from the last, which is new; from scratch: all. The paper says “the final "
        "layers” and no number.",
        ge=1,
    )
    training: Schedule = setting(
        Schedule(epochs=40, steps=0, batch=16, optimizer="sgd", learning_rate=0.001, weight_decay=5e-4, decay="cosine"),
        "Schedule.",
    )
    augment: Augment = setting(Augment(), "Augmentation; boxes move with the pixels.")
    confidence: float = setting(0.25, "Boxes below this confidence do not count in the binarised scores.", ge=0, le=1)
    tune_confidence: bool = setting(False, "Choose that threshold on the validation images instead.")

    @field_validator("anchors")
    @classmethod
    def _pairs(cls, anchors: list[float]) -> list[float]:
        if len(anchors) % 2 or any(not 0 < number < 1000 for number in anchors):
            raise ValueError("anchors are pairs of a width and a height above 0, in cells")
        return anchors


class Yolo(Section):
    enabled: bool = setting(True, "Whether to run ultralytics' YOLO, another network than the paper's YOLOv2.")
    pretrained: str = setting("", "COCO weights file, used off the shelf and for fine-tuning; empty: none.")
    sha256: str = setting(
        "", "SHA-256 of the weights file (its first 8 or more hex digits suffice); empty: not checked."
    )
    architecture: str = setting("yolo11n.yaml", "Network to train from scratch if there are no COCO weights.")
    image_size: int = setting(640, "Side in pixels at which YOLO reads an image.", ge=64, le=1280, multiple_of=32)
    epochs: int = setting(40, "Epochs.", ge=1, le=10_000)
    batch: int = setting(16, "Images per step.", ge=1, le=1024)
    optimizer: Literal["SGD", "Adam", "AdamW"] = setting("SGD", "Optimiser.")
    learning_rate: float = setting(0.01, "Initial learning rate.", gt=0, le=1)
    freeze: int = setting(
        0,
        "Number of first modules to freeze (only when fine-tuning COCO weights); negative: all but so many last ones, so -1 "
        "trains the detection head alone.",
        ge=-100,
        le=1000,
    )
    mosaic: float = setting(0.0, "Probability of the mosaic augmentation.", ge=0, le=1)
    horizontal_flip: float = setting(0.0, "Probability of a left-right flip.", ge=0, le=1)
    vertical_flip: float = setting(0.0, "Probability of an upside-down flip.", ge=0, le=1)
    rotation: float = setting(0.0, "Largest rotation, degrees.", ge=0, le=45)
    shift: float = setting(0.1, "Largest shift, fraction of the side.", ge=0, le=0.5)
    zoom: float = setting(0.2, "Largest relative change of scale.", ge=0, le=0.9)
    keep: Literal["last", "best"] = setting(
        "last", "Which epoch's weights to keep: the last, or the best on validation."
    )
    confidence: float = setting(0.25, "Boxes below this confidence do not count in the binarised scores.", ge=0, le=1)
    tune_confidence: bool = setting(False, "Choose that threshold on the validation images instead.")


class TorchvisionDetector(Section):
    enabled: bool = setting(True, "Whether to train this detector, which is not in the paper.")
    architecture: Literal["fasterrcnn", "retinanet"] = setting(
        "fasterrcnn", "torchvision's Faster R-CNN (two stages) or RetinaNet (one stage), on a feature pyramid."
    )
    backbone: Literal["resnet50", "resnet18", "resnet10"] = setting(
        "resnet50", "ResNet below the pyramid; resnet10 is narrow, with a narrow pyramid and head, for CPUs."
    )
    pretrained: str = setting(
        "",
        "Weights file: torchvision's COCO weights of the architecture (backbone resnet50), or a state dict of the ResNet "
        "(ImageNet's, or this study's results/<name>/source/weights.pt); empty: trained from scratch.",
    )
    sha256: str = setting(
        "", "SHA-256 of the weights file (its first 8 or more hex digits suffice); empty: not checked."
    )
    trainable: int = setting(
        3, "Number of backbone parts to train, counted from its end (0 to 5); from scratch: all.", ge=0, le=5
    )
    image_size: int = setting(
        800, "Side in pixels at which the detector reads an image.", ge=64, le=1280, multiple_of=32
    )
    training: Schedule = setting(
        Schedule(epochs=20, steps=0, batch=4, optimizer="sgd", learning_rate=0.005, weight_decay=5e-4, decay="cosine"),
        "Schedule.",
    )
    augment: Augment = setting(Augment(), "Augmentation; boxes move with the pixels.")
    confidence: float = setting(0.25, "Boxes below this confidence do not count in the binarised scores.", ge=0, le=1)
    tune_confidence: bool = setting(False, "Choose that threshold on the validation images instead.")


FINDINGS_SCHEDULE = Schedule(
    epochs=60,
    steps=0,
    batch=16,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=0.05,
    decay="cosine",
    average=0.99,
)


class Pretraining(Section):
    images: int = setting(
        0, "Number of boxed phantoms (generated images) to pre-train the grid CNN on; 0: none.", ge=0, le=100_000
    )
    training: Schedule = setting(
        FINDINGS_SCHEDULE.model_copy(update={"epochs": 20}),
        "Schedule of the pre-training.",
    )

    @field_validator("images")
    @classmethod
    def _enough(cls, value: int) -> int:
        if 0 < value < 100:
            raise ValueError(f"{value} phantoms are too few to learn from and to validate on; 0, or at least 100")
        return value


class Variants(Section):
    draws: int = setting(
        0,
        "Trainings of the grid CNN with each of the paper's three losses, and as many on fewer images, each with a seed of its "
        "own; 0: none, else at least 2. The ledger compares them (protocol paper alone).",
        ge=0,
        le=50,
    )
    fewer: int = setting(90, "Number of training images that are left out where there are fewer of them.", ge=1)

    @field_validator("draws")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one training tells nothing of the spread between trainings; 0, or at least 2")
        return value


class GridCNN(Section):
    head: Literal["dense", "convolution", "findings"] = setting(
        "dense",
        "dense: one fully connected layer over all cells (the paper); convolution: one layer shared by all cells; findings: a "
        "different network, with a map for each of the 8 boxed findings and one for any of them.",
    )
    loss: Literal["mse", "l1", "cosine", "overlap"] = setting(
        "mse",
        "mse: mean squared error; l1: mean absolute error; cosine: cosine proximity; overlap: cross-entropy and soft F1 (the "
        "only loss for head findings, and only for it).",
    )
    image_size: Literal[64, 128, 256, 512, 1024] = setting(1024, "Side in pixels at which the grid CNN reads an image.")
    width: int = setting(16, "Channels of the first stage; later stages double.", ge=4, le=128)
    training: Schedule = setting(
        Schedule(epochs=5, steps=0, batch=1, optimizer="adam", learning_rate=0.005), "Schedule."
    )
    augment: Augment = setting(Augment(), "Augmentation; boxes move with the pixels.")
    pretraining: Pretraining = setting(Pretraining(), "Pre-training on generated images (head findings).")
    target: Literal["majority", "coverage"] = setting(
        "majority", "Target of a cell. majority: 1 if boxes cover more than half of it; coverage: the share they cover."
    )
    members: int = setting(
        1,
        "Networks trained side by side from different random starts; their maps are averaged (head findings).",
        ge=1,
        le=50,
    )
    dropout: float = setting(0.0, "Share of features that dropout sets to 0 (head findings).", ge=0, lt=1)
    mask_unboxed: bool = setting(
        True, "Leave out of the loss each finding that an image's labels name but no box shows (head findings)."
    )
    test_time_flip: bool = setting(
        False, "Average the predictions for an image and for its mirror image, mirrored back (head findings)."
    )
    decisive: bool = setting(
        False,
        "Write maps made for thresholding, not probabilities (head findings): a cell of the map of any finding holds its worth "
        "for the expected F1, and each finding's map is divided by its highest cell.",
    )
    finding_weight: float = setting(1.0, "Weight of the findings' maps in the loss (head findings).", ge=0, le=100)
    label_weight: float = setting(
        1.0, "Weight of the image's findings (present or absent) in the loss (head findings).", ge=0, le=100
    )
    threshold: float = setting(0.5, "Confidence above which a cell is predicted in the binarised scores.", gt=0, lt=1)
    tune_threshold: bool = setting(False, "Choose that threshold on the validation images instead.")
    variants: Variants = setting(Variants(), "The paper's three losses and two numbers of training images, compared.")

    @field_validator("image_size", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """Accept "512" for 512, as other numbers do: Snakemake passes texts for values in braces on the command line."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @model_validator(mode="after")
    def _fitting(self) -> "GridCNN":
        if (self.head == "findings") != (self.loss == "overlap"):
            raise ValueError("head findings and loss overlap go together, and neither with another")
        extras = self.members > 1 or self.test_time_flip or self.decisive or self.pretraining.images
        if extras and self.head != "findings":
            raise ValueError("members above 1, test_time_flip, decisive and pretraining need head findings")
        if self.variants.draws and self.head == "findings":
            raise ValueError("variants need head dense or convolution: head findings has a loss of its own")
        return self


class Protocol(Section):
    split: Split = setting(Split(), "Images for training, validation and testing.")
    augment: Augment = setting(Augment(), "Augmentation of the classifiers' training images.")
    baseline: Baseline = setting(Baseline(), "The two baselines trained from scratch.")
    transfer: Transfer = setting(Transfer(), "The transfer grid and its long runs.")
    yolov2: YoloV2 = setting(YoloV2(), "YOLOv2, the paper's own network, off the shelf and fine-tuned.")
    yolo: Yolo = setting(Yolo(), "YOLO of ultralytics, off the shelf and fine-tuned.")
    torchvision_detector: TorchvisionDetector = setting(
        TorchvisionDetector(), "A detector of torchvision (BSD licence), beside YOLO (AGPL)."
    )
    gridcnn: GridCNN = setting(GridCNN(), "The 18-layer grid CNN.")


PAPER = Protocol(
    split=Split(
        rule="image",
        max_test=10_000,
        box_validation=0.092,  # of the release's 880 boxed images 81, so 670 are left for training
        box_test=0.1466,  # 129
        box_group="image",
    ),
    augment=Augment(vertical_flip=0.5, rotation=10, shift=0.05, zoom=0.05),
    transfer=Transfer(head_input="softmax", frozen_batchnorm="keras", head_init="glorot"),
    yolov2=YoloV2(augment=Augment(horizontal_flip=0.5, shift=0.1, zoom=0.2)),
    yolo=Yolo(freeze=-1, epochs=40, batch=16, horizontal_flip=0.5),
    torchvision_detector=TorchvisionDetector(enabled=False),
)
SOUND = Protocol(
    split=Split(rule="patient", box_folds=5),
    augment=Augment(horizontal_flip=0.5, rotation=7, shift=0.05, zoom=0.1, brightness=0.15),
    baseline=Baseline(
        balanced=True,
        training=Schedule(
            epochs=10, steps=0, optimizer="adamw", learning_rate=1e-3, weight_decay=0.05, decay="cosine", keep="best"
        ),
    ),
    transfer=Transfer(
        head_input="features",
        frozen_batchnorm="eval",
        balanced=True,
        select_by="auroc",
        training=Schedule(optimizer="adamw", learning_rate=5e-4, weight_decay=0.01, decay="cosine"),
        long=Schedule(epochs=30, optimizer="adamw", learning_rate=5e-4, weight_decay=0.01, decay="cosine", keep="best"),
    ),
    yolo=Yolo(epochs=60, optimizer="AdamW", learning_rate=1e-3, rotation=5, keep="best", tune_confidence=True),
    torchvision_detector=TorchvisionDetector(
        training=Schedule(
            epochs=20,
            steps=0,
            batch=4,
            optimizer="sgd",
            learning_rate=0.005,
            weight_decay=5e-4,
            decay="cosine",
            keep="best",
        ),
        augment=Augment(rotation=5, shift=0.05, zoom=0.1, brightness=0.15),
        tune_confidence=True,
    ),
    gridcnn=GridCNN(
        head="findings",
        loss="overlap",
        image_size=128,
        width=8,
        target="coverage",
        dropout=0.2,
        test_time_flip=True,
        decisive=True,
        training=FINDINGS_SCHEDULE,
        augment=Augment(horizontal_flip=0.5, rotation=7, shift=0.06, zoom=0.1, gamma=0.4),
        tune_threshold=True,
    ),
)


class Evaluation(Section):
    bootstrap: int = setting(1000, "Bootstrap samples, drawn by patient.", ge=100, le=100_000)
    confidence: float = setting(0.95, "Confidence level of the intervals.", gt=0.5, lt=1)


class Leakage(Section):
    enabled: bool = setting(False, "Whether to measure what recognising patients is worth (docs/leakage.md).")
    size: int = setting(1000, "Number of training images of each network.", ge=10)
    repeats: int = setting(
        1,
        "How often the experiment is done, each time with other halves, images and seeds: two networks.",
        ge=1,
        le=100,
    )
    held_out: float = setting(0.2, "Share of patients that are only tested.", ge=0, le=0.8)
    test: float = setting(0.3, "Share of the other patients' images for testing.", gt=0, le=0.8)
    layers: int = setting(10, "Number of trainable layers with parameters, counted from the end.", ge=0)
    training: Schedule = setting(
        Schedule(epochs=30, optimizer="adamw", learning_rate=5e-4, weight_decay=0.01, decay="cosine"),
        "Schedule of each network. keep must be last: each network is in both arms, so no validation images suit both.",
    )
    augment: Augment = setting(Augment(), "Augmentation of the training images.")

    @field_validator("training")
    @classmethod
    def _last(cls, value: Schedule) -> Schedule:
        if value.keep != "last":
            raise ValueError("keep must be last: choosing an epoch would need validation images of one arm")
        return value


class Machine(Section):
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "Arithmetic of training. auto: bfloat16 autocast if the device has instructions for it, else float32."
    )
    slots: int = setting(1, "Training jobs that may share a GPU.", ge=1, le=64)
    checkpoint: float = setting(
        120, "Seconds between saved states of a training run (more where saving is slow).", ge=0
    )


class Download(Section):
    table: str = setting("", "Address table of the release; empty: the workflow's own config/release.csv.")
    parallel: int = setting(
        4, "Number of files to download at the same time (--resources download=... overrides it).", ge=1, le=16
    )
    attempts: int = setting(10, "Give a file up after this many attempts in a row without new data.", ge=1, le=1000)
    keep_archives: bool = setting(False, "Keep the downloaded archives after unpacking (45 GB more).")


class Predict(Section):
    folder: str = setting("", "Folder of new images (PNG, JPEG, DICOM), found anywhere below it.")
    name: str = setting(
        "",
        "Predictions go to results/<name of the run>/predictions/<this>/; empty: the folder's own name, with characters other "
        "than letters, digits, _ and - replaced by _.",
        pattern=r"^[A-Za-z0-9_-]*$",
    )
    bits: int = setting(
        0,
        "Significant bits of a 16-bit PNG file without an sBIT chunk: 2^bits - 1 is white. 0: the smallest of 8, 10, 12, 14 "
        "and 16 bits that holds the file's own highest value; images.csv says which.",
        ge=0,
        le=16,
    )
    protocol: Literal["best", "paper", "sound"] = setting(
        "best",
        "Protocol whose models predict. best: sound if the run has it, else paper (validation scores of different protocols "
        "cannot be compared).",
    )


class Validate(Section):
    folder: str = setting("", "Folder of another data set's images (PNG, JPEG, DICOM), found anywhere below it.")
    table: str = setting(
        "",
        "Its table of labels (CSV): a column of images, one of patients, and labels, in NIH's form or in a column each (1, 0, "
        "nothing or -1: not known); perhaps age, sex and view.",
    )
    names: str = setting(
        "",
        "What its columns and labels are here (YAML or CSV, their name, then ours; nothing: not used), for example "
        "config/names/chexpert.yaml; empty: the names are ours or NIH's.",
    )
    boxes: str = setting(
        "",
        "Its list of boxes, if any, in the release's form (Image Index, Finding Label, Bbox [x,y,w,h]); empty: no boxes.",
    )
    box_side: int = setting(
        0,
        "Side in pixels of the square in which the boxes are given (NIH: 1024); 0: in the pixels of each image.",
        ge=0,
    )
    one_image_per_patient: bool = setting(
        False,
        "The table has no patients: each image counts as a patient of its own. Intervals are too narrow if that is wrong.",
    )
    name: str = setting(
        "",
        "Results go to results/<name of the run>/validations/<this>/; empty: the folder's own name, as for predict.name.",
        pattern=r"^[A-Za-z0-9_-]*$",
    )
    bits: int = setting(0, "Significant bits of a 16-bit PNG file, as predict.bits.", ge=0, le=16)
    protocol: Literal["best", "paper", "sound"] = setting(
        "best", "Protocol whose models are validated, as predict.protocol."
    )


class Settings(Section):
    name: str = setting("nih", "Results go to results/<name>/.", pattern=r"^[A-Za-z0-9_-]+$")
    seed: int = setting(0, "Seed of every random choice.", ge=0, lt=2**31)
    protocols: list[Literal["paper", "sound"]] = setting(["paper", "sound"], "Protocols to run.", min_length=1)
    data: Data = setting(Data(), "The data set.")
    phantoms: Phantoms = setting(Phantoms(), "The generated data set (source: phantoms).")
    images: Images = setting(Images(), "The image cache.")
    network: Network = setting(Network(), "The classifier.")
    source: Source = setting(Source(), "Source weights of transfer learning.")
    paper: Protocol = setting(PAPER, "The study as the paper did it.")
    sound: Protocol = setting(SOUND, "The same study under a sound protocol.")
    evaluation: Evaluation = setting(Evaluation(), "Metrics and intervals.")
    leakage: Leakage = setting(Leakage(), "What recognising patients is worth (the target `leakage`).")
    machine: Machine = setting(Machine(), "Arithmetic.")
    predict: Predict = setting(Predict(), "Predictions of new images (the target `predict`).")
    validate: Validate = setting(Validate(), "External validation on another data set (the target `validate`).")
    download: Download = setting(Download(), "Download of the public release (the target `download`).")

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.sound.gridcnn.variants.draws:
            raise ValueError(
                "sound.gridcnn.variants.draws must be 0: the ledger compares under the protocol paper alone"
            )
        for name in self.protocols:
            protocol: Protocol = getattr(self, name)
            if self.images.box_size % protocol.gridcnn.image_size:
                raise ValueError(
                    f"images.box_size = {self.images.box_size} must be a multiple of "
                    f"{name}.gridcnn.image_size = {protocol.gridcnn.image_size}"
                )
            if protocol.split.box_folds > 1 and not protocol.split.box_validation:
                raise ValueError(
                    f"{name}.split.box_folds = {protocol.split.box_folds} needs {name}.split.box_validation above 0: "
                    "no fold is tested on the images that choose its threshold"
                )
            if protocol.split.rule == "official" and self.data.source == "nih" and not self.data.test_list:
                raise ValueError(f"{name}.split.rule = official needs data.train_val_list and data.test_list")
        for name, protocol in (("predict", self.predict.protocol), ("validate", self.validate.protocol)):
            if protocol not in ("best", *self.protocols):
                raise ValueError(f"{name}.protocol = {protocol} is none of protocols = {self.protocols}")
        return self


DEFAULTS = Settings()


def load(config: Mapping[str, Any]) -> Settings:
    """Merge a configuration over the defaults, key by key, and check it.

    Raises InputError with one line per problem: the key, its value, what is allowed and, for an unknown key, the nearest
    known one.
    """
    known = [path for path, _ in fields(Settings)]
    problems = [
        f"config key '{path}' is unknown{_nearest(path, known)}" for path in _paths(config) if path not in set(known)
    ]
    if problems:
        raise InputError("\n".join(problems))
    try:
        return Settings.model_validate(_merged(DEFAULTS.model_dump(), config))
    except ValidationError as error:
        raise InputError("\n".join(_explain(problem) for problem in error.errors())) from None


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, pydantic field) of every setting, each section before its members."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")


def _paths(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    sections = {path for path, field in fields(Settings) if is_section(field)}
    for key, value in config.items():
        path = f"{prefix}{key}"
        yield path
        if path in sections and isinstance(value, Mapping):
            yield from _paths(value, f"{path}.")


def is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _nearest(path: str, known: list[str]) -> str:
    same_section = [other for other in known if other.rpartition(".")[0] == path.rpartition(".")[0]]
    for candidates, cutoff in ((same_section, 0.6), (known, 0.5)):
        found = difflib.get_close_matches(path, candidates, n=1, cutoff=cutoff)
        if found:
            return f"; nearest known key: '{found[0]}'"
    return "; known keys are listed in config/README.md"


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result


def allowed(field: Any) -> str:
    """Return in words which values a setting takes: ``"0 < value <= 10"``, ``"one of sgd, adam"``."""
    limits = {
        kind: getattr(item, kind) for item in field.metadata for kind in ("gt", "ge", "lt", "le") if hasattr(item, kind)
    }
    low = f"{limits['gt']} < " if "gt" in limits else f"{limits['ge']} <= " if "ge" in limits else ""
    high = f" < {limits['lt']}" if "lt" in limits else f" <= {limits['le']}" if "le" in limits else ""
    words = [f"{low}value{high}"] if low or high else []
    words += [f"multiple of {item.multiple_of}" for item in field.metadata if getattr(item, "multiple_of", None)]
    words += [f"matching {item.pattern}" for item in field.metadata if getattr(item, "pattern", None)]
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str | int) for choice in choices):
        words.append("one of " + ", ".join(map(str, choices)))
    return ", ".join(words)


def _explain(problem: Mapping[str, Any]) -> str:
    names = [part for part in problem["loc"] if isinstance(part, str)]
    path = ".".join(names)
    field = dict(fields(Settings)).get(path)
    limits = allowed(field) if field is not None else ""
    value = json.dumps(problem["input"], default=str).replace(
        '"', ""
    )  # nested values come as text from the command line
    where = f"config key '{path}' = {value}: " if path else "configuration: "
    message = problem["msg"].removeprefix("Value error, ")
    return where + message + (f" (allowed: {limits})" if limits else "")
