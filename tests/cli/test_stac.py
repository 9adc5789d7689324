"""STAC items: which asset is run on, and that none leads out of the item's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rsvl.cli.stac import asset_of
from rsvl.runtime.errors import InputError
from tests.support.outcome import Rsvl

PNG = {"type": "image/png", "roles": ["data"]}


def item(folder: Path, assets: Any, **changed: Any) -> Path:
    data = {"type": "Feature", "stac_version": "1.0.0", "id": "here", "assets": assets, **changed}
    (folder / "item.json").write_text(json.dumps(data))
    return folder / "item.json"


@pytest.mark.parametrize(
    ("assets", "name", "href"),
    [
        ({"B04": {"href": "b4.tif"}, "visual": {"href": "./visual.tif"}}, None, "visual.tif"),
        ({"B04": {"href": "b4.tif"}, "visual": {"href": "visual.tif"}}, "B04", "b4.tif"),
        ({"B04": {"href": "b4.tif"}, "overview": {"href": "o.tif"}}, None, "o.tif"),
        ({"B04": {"href": "b4.tif"}, "tci": {"href": "t.tif", "roles": ["visual"]}}, None, "t.tif"),
        ({"meta": {"href": "m.xml", "type": "text/xml"}, "image": {"href": "i.png", **PNG}}, None, "i.png"),
        ({"a": {"href": "a.png", "type": "image/png"}, "d": {"href": "d.png", **PNG}}, None, "d.png"),
        ({"image": {"href": "sub/an%20image.png", **PNG}}, None, "sub/an image.png"),
    ],
)
def test_asset_is_the_one_to_look_at(tmp_path: Path, assets: dict, name: str | None, href: str) -> None:
    assert asset_of(item(tmp_path, assets), name) == tmp_path.resolve() / href


@pytest.mark.parametrize(
    ("assets", "name", "says"),
    [
        ({"a": {"href": "a.png", **PNG}, "b": {"href": "b.png", **PNG}}, None, "one of a, b with --asset"),
        ({"a": {"href": "a.png", **PNG}}, "visual", "no asset 'visual'"),
        ({"a": {"href": "https://example.org/a.tif", **PNG}}, None, "on another host"),
        ({"a": {"href": "s3://bucket/a.tif", **PNG}}, None, "on another host"),
        ({"a": {"href": "//example.org/a.tif", **PNG}}, None, "on another host"),
        ({"a": {"href": "../a.png", **PNG}}, None, "does not lie in the item's folder"),
        ({"a": {"href": "/etc/hostname", **PNG}}, None, "does not lie in the item's folder"),
        ({"a": {"href": "file:///etc/hostname", **PNG}}, None, "does not lie in the item's folder"),
        ({"a": PNG}, None, "does not lie in the item's folder"),
        ({}, None, "without assets"),
        ([], None, "no STAC item"),
        ({"a": 3}, None, "no STAC item"),
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, assets: Any, name: str | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        asset_of(item(tmp_path, assets), name)


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(InputError, match="does not lie in"):
        asset_of(item(tmp_path / "in", {"a": {"href": "a.png", **PNG}}))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"type": "FeatureCollection"}', "[" * 100_000])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match="no STAC item"):
        asset_of(tmp_path / "x.json")


def test_run_takes_items(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(image, tmp_path / name / "image.png")
        item(tmp_path / name, {"image": {"href": "image.png", **PNG}, "other": {"href": "image.png"}})
    items = (tmp_path / "one" / "item.json", tmp_path / "two" / "item.json")
    outcome = rsvl("run", bundle, *items, "-t", "red", "--asset", "image", "-o", tmp_path / "o", "--json")
    assert [each["image"] for each in outcome.json["images"]] == [str(each.parent / "image.png") for each in items]
    assert len({path.name for path in (tmp_path / "o").iterdir()}) == 2
    outcome = rsvl("run", bundle, image, "-t", "red", "--asset", "image")
    assert outcome.code == 2 and "--asset" in outcome.error
