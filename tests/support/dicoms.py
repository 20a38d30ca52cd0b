"""DICOM files made for tests."""

import base64
import struct
import zlib

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian


def write(path, values, kind="MONOCHROME2", bits=12, *, syntax=ExplicitVRLittleEndian, stream=None, **elements):
    """Write grey values (H, W) or colours (H, W, 3) as a radiograph.

    stream: the compressed pixels, where the syntax is a compressed one; elements: further ones by keyword, such as
    WindowCenter, which also replace those written by default (None: left out).
    """
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.Rows, header.Columns = values.shape[:2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1 if values.ndim == 2 else 3, kind
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, bits, bits - 1, 0
    for name, value in elements.items():
        setattr(header, name, value)
    order = "<" if syntax.is_little_endian else ">"
    if stream is not None:
        header.PixelData = encapsulate([stream])
        header["PixelData"].is_undefined_length = True
    elif not any("PixelData" in name for name in elements):
        stored = f"{order}{'i' if header.PixelRepresentation else 'u'}{header.BitsAllocated // 8}"
        header.PixelData = np.asarray(values).astype(stored).tobytes()
    for name in [name for name, value in elements.items() if value is None]:
        delattr(header, name)
    header.save_as(path, enforce_file_format=True)


def item(descriptor, data, kind="US"):
    """A sequence's item with a lookup table; data: entries, or bytes where kind, the VR, is OW."""
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "SS" if min(descriptor) < 0 else "US", descriptor)
    table.add_new("LUTData", kind, data)
    return table


def sequence(*arguments):
    """A sequence of one lookup table; arguments: those of `item`."""
    return pydicom.Sequence([item(*arguments)])


def without_preamble(path, keep_meta=False):
    """Cut the preamble of a DICOM file off, and its meta information too."""
    data = path.read_bytes()
    meta = 132 + 12 + int.from_bytes(data[140:144], "little")  # behind the group length and what it counts
    path.write_bytes(data[132 if keep_meta else meta :])


def deflate_more(path, pieces):
    """Add bytes behind the data set of a deflated file."""
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = [packer.compress(piece) for piece in (zlib.decompress(data[start:], -zlib.MAX_WBITS), *pieces)]
    path.write_bytes(data[:start] + b"".join(packed) + packer.flush())


def stating(stream, marker, width, height):
    """A JPEG or JPEG-LS stream whose frame header, at this marker, states another size."""
    at = stream.index(marker) + 5
    return stream[:at] + struct.pack(">HH", height, width) + stream[at + 4 :]


def stating_2000(stream, width, height, tile):
    """A JPEG 2000 stream that states another size, and tiles of this side."""
    at = stream.index(b"\xff\x4f\xff\x51") + 8
    sizes = struct.pack(">6I", width, height, 0, 0, tile, tile)
    return stream[:at] + sizes + stream[at + 24 :]


# A ramp (64, 64) of 12 bits, 0 to 3780 from left to right, as other programs compress it: zlib, then base 85.
RAMP = np.tile(np.arange(64) * 60, (64, 1))
STREAMS = {
    "JPEGExtended12Bit": (
        "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuZ!I^=H5d=Ua69}*{gGg2u7G@SURyH;;X6NJpVs<t*4sH%kE)W2+c(}QEK%D;v8Mt{E92guJ83h^"
        "sA7Ky!nh!J^32^iA0>vc+7?_wDP$k@24*tKzzyVTk&v4j1_KegveumvMOmpNI%MG$_*f70IxVoW&_0GZ72_Lw3HisR2AYRP2w)ueGGu~"
        "*9?O(Bqvo~Njrn`RBc$~)nzX<>|KEk8"
    ),
    "JPEGLossless": ("c-s4a<NpH&0WUXCHwH#V1_nkTWcYuWft!cHfx&^1QIO&P5e6}!6i^r$u<`uA#lQg+Wno}A|DU0fB2d9F3PvJe{C^Vwjt?xD"),
    "JPEGLosslessSV1": (
        "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuWft!cHfx&^1QIO&P5e6}!6i^rmurcubzs1182v&an-^a(t`{isZNTueHt_4I*Cd;ylPZi`j(_fA"
        "(XPzW4Oe)C>lYVuw!sO$V(Wo1Zy3wc`jk?jO8;!crs2h#C(Wo1Zy3wc`jXDtZ{Qpe=2_^4Q"
    ),
    "JPEGLSLossless": (
        "c-s4a<Npf=h2Q{BH#Y_*1_nk31_lQZ<`Q57vKe(i7^s2+D8~5z#{cgO+yX!a4vdU~4F7*H@G}1Y&mhF$%qYU(@c$MA2O~&7!{R;VeIKt"
        "CgYcZ(Z?|KYolo6(Bm4L6YO7znsw{u*thD&Cqr&|A_Hwgt+sevJzkc0X_2uQ|`F1fo3m+eD=ac^afQ6w!frEvKk)Z(!8ktx)1QZ;gR1="
        "2+R>Z={qR8PS(1J#|pa2H}78g&INpKVj0SpdW>;Kn-p@V`vlvTsT2xZkDKoVqz2{tsqSPvBJq09;nekiMsc!lgR=|ReZyOaa&dIh+Tnq"
        "jP_QDvyg8vfq|0GdqMUj"
    ),
    "JPEGLSNearLossless": (
        "c-s4a<Npf=h2Q{BH#Y_*1_nk31_lQZ<`Q57vKe(i7^s2+D8~5z#{cgO+yX!a4vdU~4F7*H@G}1Y&mh6z%c#WQ@c$MA2O}fMkVPLW_Uu^"
        "`7Z<lSYHQZz^ERK4%M>2_{eIu?+-<kB?|t9%ymDW0&Asn?-&fuHy7qPS0R;g80R@L94uvKTCxI445aEIhCV8q%Vq{bSQJyMOLm?pk4-5"
        "PMdI)4>hOrv4vEb@h<e{t@0jS9T0!NtSL2SxkLJ#?&tU9_0!5!fa6B2|mj=)@BIE)kt!x)ok&uI9669A$L%&7"
    ),
    "HTJ2KLossless": (
        "c-s5#|38pH(}4j99H1BmQ2C7fjEw&S7&sW1fE=#>K@2=V79#^I3yTBe{}={gg^meGprfPXe+q**1EYUIYMxhsheB9tk%EDqk(r*c-v0>"
        "<Two*TGcf+2e1Jil;eY-A`t5hO-(_mt!f=2=xM4!W5oV?mAXC)AL!psHXjM^DDUc`Dq2$sbpy<@XA^7}MRaFsF1xWA(4;uLSpQ{QC3Y%"
        "(y3iNht%e{>i{oDTssuBhYn#vge-vj^@`&uC"
    ),
    "HTJ2K": (
        "c-s5#|38pH(}4j99H1BmQ2C7fjEw&S7&sW1fE=y=K@2=V79#^I3yTB8{}={krR@^iUIF2r^$hD7);(J81B59Pn1Rr3`XwMt{GY-g&cNt"
        "jkecTe;GqzfTBKm0XJn>ltoMHc0~gqaPzJ{TlMgU3#)P&fUQPT_{_npZ6XO&Hphy_QTNmqt$2Nata@qpqGu>mzD`^&R`lPi!L3-QW0yv"
        "W)on7NV<P4w^*1HXQu?`OVUTH1vEh}VXl$6+koB2<{Plw-PgUzD@Per?XJSQ+7U=Uxy5YeMBZ(c>EA*od5KTZufFZM}|PZm@{7{^3gJZ"
        "FFm-NG<u^(m8?;Zrk>)@xl(i3?qJa?dKC$(5lq)jqE>@_iPXI_nG}1@-cORqOG<I)U}vWlaBX0su)DuG|"
    ),
}


def stream(name):
    """The compressed ramp, by the keyword of a transfer syntax."""
    return zlib.decompress(base64.b85decode(STREAMS[name]))
