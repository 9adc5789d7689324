"""What a file is, and that it is opened as that and as nothing else: no other file, no program, no host."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.formats import identify
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import open_scene
from tests.support.installed import needs
from tests.support.rasters import write_raster

RGB = np.random.default_rng(4).integers(0, 256, (48, 64, 3), np.uint8)

NOT_READ = {
    b"version https://git-lfs.example/spec/v1\noid sha256:0\n": "a Git LFS pointer and not the file itself",
    b"\n<!DOCTYPE html>\n<html>404</html>": "a web page",
    b"%PDF-1.7\n": "a PDF",
    b"%!PS-Adobe-3.0 EPSF-3.0\n": "PostScript",
    b'<?xml version="1.0"?>\n<svg xmlns="a"/>': "an SVG drawing",
    b"<svg/>": "an SVG drawing",
    b'<?xml version="1.0"?><metadata/>': "an XML file",
    b"\x89HDF\r\n\x1a\n\0\0": "HDF5",
    b"CDF\x01\0\0": "netCDF",
    b"GRIB\0\0\0\x02": "GRIB",
    b"PK\x03\x04\x14\0": "a ZIP archive",
    b"\x1f\x8b\x08\0": "compressed by gzip",
    b"SQLite format 3\0": "an SQLite file",
    b"\x93NUMPY\x01\0": "a NumPy array",
    b"\0\0\0\x1cftypavif": "AVIF",
    b"8BPS\0\x01": "a Photoshop file",
    b"\xff\x0a\xff": "JPEG XL",
    b"": "an empty file",
    b"nothing known": "not an image that can be read",
}


@pytest.mark.parametrize(("content", "said"), NOT_READ.items(), ids=NOT_READ.values())
def test_other_files_are_named_as_what_they_are(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_image(path)
    assert str(path) in str(caught.value) and "damaged" not in str(caught.value) and "\n" not in str(caught.value)


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    path = tmp_path / "e.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="PostScript"):
        read_image(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp", "gif", "jp2", "ppm"])
def test_truncated_picture_is_called_damaged(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"a\.{suffix}: damaged or truncated"):
        read_image(path)


@needs("rasterio")
@pytest.mark.parametrize(
    ("name", "driver"), [("a.jp2", "JP2OpenJPEG"), ("a.img", "HFA"), ("a.ntf", "NITF"), ("a.tif", "GTiff")]
)
def test_truncated_raster_is_called_damaged(tmp_path: Path, name: str, driver: str) -> None:
    path = write_raster(tmp_path / name, RGB, driver=driver)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="damaged or truncated"):
        read_image(path)


@pytest.fixture
def requests() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode())

    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://localhost:{server.server_port}", asked
        server.shutdown()


def _leading_away(folder: Path, target: str) -> dict[str, Path]:
    """Files that make GDAL open another one, by what leads there."""
    rasterio = pytest.importorskip("rasterio")
    paths = {name: write_raster(folder / f"{name}.tif", RGB.astype(np.uint16) * 9) for name in ("tag", "aux", "ovr")}
    with rasterio.open(paths["tag"], "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=target)
    Path(f"{paths['aux']}.aux.xml").write_text(
        f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{target}</MDI></Metadata></PAMDataset>'
    )
    Path(f"{paths['ovr']}.ovr").write_text(_vrt(target))
    paths["vrt"] = folder / "a.vrt"
    paths["vrt"].write_text(_vrt(target))
    return paths


def _vrt(source: str, extra: str = "", band: str = "", root: str = "") -> str:
    return (
        f'<VRTDataset rasterXSize="32" rasterYSize="24"{root}>{extra}<VRTRasterBand dataType="Byte" band="1"{band}>'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )


def _show(path: Path) -> np.ndarray | None:
    """All that is read of a file for an answer; None where it is refused."""
    try:
        scene = open_scene(path)
        scene.read()
        return scene.thumbnail(16)
    except InputError:
        return None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("scheme", ["/vsicurl/", "/vsis3/bucket/", "/vsiwebhdfs/", "/vsizip//vsicurl/", ""])
def test_no_file_makes_a_request(tmp_path: Path, requests: tuple[str, list[str]], scheme: str) -> None:
    address, asked = requests
    for path in _leading_away(tmp_path, f"{scheme}{address}/a.tif").values():
        _show(path)
    assert asked == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_file_shows_the_pixels_of_another(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    secret = write_raster(tmp_path / "elsewhere" / "secret.tif", np.full((24, 32), 201, np.uint8))
    seen = {name: _show(path) for name, path in _leading_away(tmp_path / "here", str(secret)).items()}
    assert seen["tag"] is None and seen["vrt"] is None
    for name in ("aux", "ovr"):
        assert np.array_equal(seen[name], _show(write_raster(tmp_path / "same.tif", RGB.astype(np.uint16) * 9)))


@needs("rasterio")
def test_tag_that_leads_away_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its tags name another file to read in its place: refusing it"):
        read_image(_leading_away(tmp_path, str(tmp_path / "x.tif"))["tag"])


@needs("rasterio")
def test_mosaic_of_files_beside_is_read(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    write_raster(tmp_path / "tiles" / "a.tif", RGB[:24, :32, :1])
    for source in (tmp_path / "tiles" / "a.tif", "tiles/a.tif"):
        relative = ' relativeToVRT="1"' if source == "tiles/a.tif" else ""
        text = _vrt(str(source)).replace(' relativeToVRT="0"', relative)
        (tmp_path / "mosaic.vrt").write_text(text)
        assert np.array_equal(read_image(tmp_path / "mosaic.vrt")[:, :, 0], RGB[:24, :32, 0])
    (tmp_path / "mosaic.vrt").write_text('<?xml version="1.0"?>\n' + text)
    assert identify(tmp_path / "mosaic.vrt").name == "VRT"


PYTHON = "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
HOSTILE = {
    "folder above": (_vrt("../a.tif").replace('"0"', '"1"'), "does not lie beside it"),
    "other folder": (_vrt("/etc/hostname"), "does not lie beside it"),
    "url": (_vrt("http://localhost/a.tif").replace('"0"', '"1"'), "does not lie beside it"),
    "vsi": (_vrt("/vsicurl/http://localhost/a.tif"), "does not lie beside it"),
    "missing": (_vrt("b.tif").replace('"0"', '"1"'), "is missing"),
    "another vrt": (_vrt("again.vrt").replace('"0"', '"1"'), "a VRT of another VRT"),
    "no image": (_vrt("text.tif").replace('"0"', '"1"'), "text.tif: not an image"),
    "python": (_vrt("a.tif", PYTHON, ' subClass="VRTDerivedRasterBand"'), "a VRT with"),
    "raw": (_vrt("a.tif", "", ' subClass="VRTRawRasterBand"'), "a VRT with VRTRawRasterBand"),
    "warped": (_vrt("a.tif", "", "", ' subClass="VRTWarpedDataset"'), "a VRT with VRTWarpedDataset"),
    "options": (_vrt("a.tif", "<OpenOptions><OOI key='a'>b</OOI></OpenOptions>"), "a VRT with OpenOptions"),
    "multidimensional": (_vrt("a.tif", "<Group name='/'/>"), "a VRT with Group"),
    "entities": ('<VRTDataset rasterXSize="1"/><!DOCTYPE a [<!ENTITY x "y">]>', "not a readable VRT"),
    "not closed": (_vrt("a.tif")[:-5], "not a readable VRT"),
}


@pytest.mark.parametrize(("text", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_vrt_that_does_more_is_refused(tmp_path: Path, text: str, said: str) -> None:
    write_raster(tmp_path / "a.tif", RGB[:, :, :1])
    (tmp_path / "again.vrt").write_text(_vrt("a.tif"))
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "x.vrt").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_image(tmp_path / "x.vrt")
    assert "\n" not in str(caught.value)


@needs("rasterio")
def test_first_of_several_images_is_shown_and_told(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "two.ntf", RGB[:, :, :1], driver="NITF", NUMI=2)
    with pytest.warns(UserWarning, match="the first of 2 images is shown"):
        assert np.array_equal(read_image(path)[:, :, 0], RGB[:, :, 0])


@needs("rasterio")
def test_file_without_an_image_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "none.ntf", RGB[:, :, :1], driver="NITF")
    header = path.read_bytes()[:404]
    assert header[360:363] == b"001"  # one image: its header's and its data's lengths follow
    path.write_bytes(header[:342] + b"000000000388" + b"000388" + b"000" + header[379:])
    with pytest.raises(InputError, match="a NITF file without an image"):
        read_image(path)
