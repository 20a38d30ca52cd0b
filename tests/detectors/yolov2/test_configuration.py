"""Darknet's cfg files: what is read, and what is refused with file and line."""

import pytest

from cxr.detectors.yolov2 import architecture, configuration
from cxr.detectors.yolov2.network import Darknet
from cxr.detectors.yolov2.region import Region
from cxr.errors import InputError

NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"
LAST = "[convolutional]\nfilters=14\nsize=1\nstride=1\npad=1\nactivation=linear\n"
REGION = "[region]\nanchors=1,2, 3,4\nclasses=2\ncoords=4\nnum=2\nsoftmax=1\n"


def built(text):
    return Darknet(configuration.parse(text, "some.cfg"))


def test_blanks_and_comments_do_not_count():
    text = (
        "# of mine\n[net]\n width = 64 ;wide\nheight=64\n\n[convolutional]\nfilters=14\nactivation = linear\n\n"
        + REGION
    )
    net, convolution, region = configuration.parse(text, "some.cfg")
    assert (net.kind, net.options, net.where) == ("net", {"width": "64", "height": "64"}, "some.cfg, line 2")
    assert convolution.whole("filters") == 14 and convolution.options["activation"] == "linear"
    assert region.reals("anchors") == (1, 2, 3, 4)
    assert built(text).height == 64


def test_a_region_says_its_anchors_and_the_terms_of_its_loss():
    text = (
        REGION + "object_scale=5\nnoobject_scale=.5\nclass_scale=2\ncoord_scale=3\nthresh=.6\nrescore=1\nbias_match=1\n"
    )
    found = Region.of(configuration.parse(NET + text, "some.cfg")[-1])
    assert found == Region(((1, 2), (3, 4)), 2, 5, 0.5, 2, 3, 0.6, rescore=True, bias_match=True)
    assert found.filters == 2 * (5 + 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not the cfg of a YOLOv2"),
        (NET + LAST, r"its last \[region\]"),
        ("width=64\n" + NET + REGION, "some.cfg, line 1: 'width=64' is neither"),
        (NET + "[convolutional]\nfilters\n" + REGION, "some.cfg, line 6: 'filters' is neither"),
        (NET + "[shortcut]\nfrom=-3\n" + REGION, r"some.cfg, line 5: \[shortcut\]: this section is not known here"),
        (NET + "[convolutional]\ngroups=2\n" + REGION, r"line 5: \[convolutional\]: the option groups=2 is not known"),
        (NET + "[convolutional]\nfilters=many\n" + REGION, "filters=many: expected a number"),
        (NET + "[convolutional]\nfilters=1.5\n" + REGION, "filters=1.5: expected a whole number of at least 1"),
        (NET + "[convolutional]\nfilters=14\nactivation=mish\n" + REGION, "activation=mish: known here are leaky"),
        ("[net]\nwidth=64\n" + LAST + REGION, r"line 1: \[net\]: 'height' is missing"),
        (NET + LAST + REGION.replace("num=2", "num=3"), "anchors=1,2,3,4: expected numbers"),
        (NET + LAST + REGION.replace("3,4", "3,0"), "widths and heights must be above 0"),
        (NET + LAST + REGION.replace("softmax=1", "softmax=0"), "only coords=4 and softmax=1"),
        (NET + LAST + REGION.replace("classes=2", "classes=8"), "need 26 filters before them, .* but there are 14"),
        (NET + "[reorg]\nstride=2\n" + LAST + REGION, "stride=2 does not divide a map of 3 × 64 × 64"),
        (NET + "[route]\nlayers=-1\n" + LAST + REGION, "layers=-1 names a layer that is not before layer 0"),
        (NET + LAST + "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1,-2\n" + REGION, "maps of different sizes"),
        (NET + LAST + REGION + LAST + REGION, "a region layer must be the last section"),
    ],
)
def test_what_is_not_carried_out_here_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        built(text)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.cfg").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "a.cfg", tmp_path / "none.cfg"):
        with pytest.raises(InputError, match="not readable as a Darknet cfg"):
            configuration.read(path)


@pytest.mark.parametrize(("classes", "filters"), [(80, 425), (8, 65)])
def test_the_papers_network_has_31_layers_and_its_last_filters_follow_from_the_classes(classes, filters):
    network = built(architecture.cfg("yolov2", classes))
    assert len(network.layers) == 31 and len(network.convolutions) == 23
    assert network.layers[30].conv.out_channels == network.region.filters == filters
    assert network.layers[25].layers == (16,) and network.layers[28].layers == (27, 24)
    assert network.layers[29].conv.in_channels == 1024 + 4 * 64, "the passthrough beside what it was taken from"
    assert (network.height, network.width) == (416, 416)


def test_anchors_and_side_are_the_callers():
    network = built(architecture.cfg("yolov2-tiny", 3, anchors=(1, 2, 3, 4), side=64))
    assert network.region.anchors == ((1, 2), (3, 4)) and network.layers[-1].conv.out_channels == 2 * (5 + 3)
    assert (network.height, network.width) == (64, 64)
