"""YOLOv2 in a study: off the shelf and fine-tuned from a Darknet file, scored like any other detector."""

import json
import shutil

import pandas as pd
import pytest
from running import executed, planned

CFG = (
    "[net]\nwidth=64\nheight=64\n[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=8\npad=1\nactivation=leaky\n"
    "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
    "[region]\nanchors=1,1,3,3\nnum=2\nclasses=2\nsoftmax=1\nrescore=1\n"
)
TABLES = [f"results/tiny/metrics/paper/{name}.csv" for name in ("yolov2_off_the_shelf", "yolov2_finetuned")]


@pytest.mark.long
def test_yolov2_runs_where_it_is_enabled_and_trains_again_for_another_cfg(repository, finished, tmp_path):
    from cxr.detectors.yolov2 import configuration, darknet_weights
    from cxr.detectors.yolov2.network import Darknet

    shutil.copytree(finished, tmp_path / "study", symlinks=True)
    cfg, weights = tmp_path / "some.cfg", tmp_path / "some.weights"
    cfg.write_text(CFG)
    darknet_weights.write(Darknet(configuration.parse(CFG, "some.cfg")), weights)
    own = f"enabled: true, cfg: {cfg}, pretrained: {weights}, image_size: 64, training: {{epochs: 1}}"
    config = [f"paper={{yolov2: {{{own}}}}}"]
    ran = executed(repository, tmp_path / "study", "--", *TABLES, config=config)
    assert ran == {"yolov2_off_the_shelf": 1, "yolov2_finetuned": 1, "metrics_boxes": 2}
    facts = json.loads((tmp_path / "study/results/tiny/yolov2_finetuned/paper/fold0/facts.json").read_text())
    assert facts["from"] == "some.weights" and facts["trained_parameters"] == facts["parameters"]
    for table in TABLES:
        assert {"f1", "map50_any"} <= set(pd.read_csv(tmp_path / "study" / table)["metric"])
    assert planned(repository, tmp_path / "study", "--", *TABLES, config=config) == {}
    cfg.write_text(CFG.replace("rescore=1", "rescore=0"))
    assert planned(repository, tmp_path / "study", "--", *TABLES, config=config)["yolov2_finetuned"] == 1
