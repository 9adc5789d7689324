"""The bundles as processes, and jobs, as OGC API - Processes 1.0 describes them."""

from __future__ import annotations

from typing import Any

from rsvl.runtime.service.bundles import ServedBundle
from rsvl.runtime.service.inputs import JobInputs
from rsvl.runtime.service.job_process import ANSWER, PREVIEW, STEM
from rsvl.runtime.service.jobs import SUCCESSFUL, Job

_SPEC = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
_REL = "http://www.opengis.net/def/rel/ogc/1.0/"
CONFORMANCE = [f"{_SPEC}{name}" for name in ("core", "ogc-process-description", "json", "job-list", "dismiss")]

_TIFF, _GEOJSON, _JSON = "image/tiff; application=geotiff", "application/geo+json", "application/json"
OUTPUTS = {
    "answer": (_JSON, "What was found, as rsvl run --json has it.", (ANSWER,)),
    "masks": (_TIFF, "One band per sentence: 1 inside, 0 outside, 255 no data.", (f"{STEM}-masks.tif",)),
    "probability": (_TIFF, "One band of probabilities per sentence.", (f"{STEM}-probability.tif",)),
    "objects": (_GEOJSON, "One feature per object or box.", (f"{STEM}-outlines.geojson", f"{STEM}-boxes.geojson")),
    "outlines": (_JSON, "The same in pixels of the scene.", (f"{STEM}-outlines.json", f"{STEM}-boxes.json")),
    "overlay": ("image/png", "The scene with what was found drawn over it.", (f"{STEM}-overlay.png",)),
    "preview": ("image/jpeg", "The scene, at most 2048 pixels long.", (PREVIEW,)),
}
"""Each output's media type, what it is, and the files of a job's results that it may be: the first that is there."""


def landing(prefix: str) -> dict[str, Any]:
    """The landing page, as JSON."""
    links = [
        ("self", "/", _JSON, "this page"),
        ("service-desc", "/api", "application/vnd.oai.openapi+json;version=3.1", "the interface"),
        (f"{_REL}conformance", "/conformance", _JSON, "conformance classes"),
        (f"{_REL}processes", "/processes", _JSON, "the bundles as processes"),
        (f"{_REL}job-list", "/jobs", _JSON, "jobs"),
        ("alternate", "/", "text/html", "a page to try it"),
    ]
    return {
        "title": "rsvl",
        "description": "Remote-sensing vision-language models: short requests and jobs.",
        "links": [_link(prefix + href, rel, kind, title) for rel, href, kind, title in links],
    }


def summary(bundle: ServedBundle, prefix: str) -> dict[str, Any]:
    """A process, in a list."""
    href = f"{prefix}/processes/{bundle.name}"
    return {
        "id": bundle.name,
        "title": f"{bundle.runner.spec.name} ({bundle.runner.spec.task})",
        "description": f"This model {bundle.runner.purpose}.",
        "version": bundle.sha256[:12],
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["reference"],
        "links": [_link(href, "self", _JSON, "this process")],
    }


def description(bundle: ServedBundle, prefix: str) -> dict[str, Any]:
    """A process with its inputs and outputs."""
    about, schema = summary(bundle, prefix), JobInputs.model_json_schema()
    options = {"threshold", "limit", "tile", "overlap", "min_score", "min_area", "simplify", "aoi", "probability"}
    known = {option.replace("-", "_") for option in bundle.runner.options}
    left_out = {option for option in options if option not in known}
    left_out |= set() if bundle.runner.spec.text is not None else {"text"}
    sensors = {sensor for image in bundle.runner.spec.images for sensor in image.sensors}
    left_out |= ({"image"} - {"image"} if "optical" in sensors else {"image"}) | (
        set() if "sar" in sensors else {"sar"}
    )
    inputs = {name: _input(name, field) for name, field in schema["properties"].items() if name not in left_out}
    outputs = {
        name: {"title": title, "schema": {"type": "string", "contentMediaType": kind}}
        for name, (kind, title, _) in OUTPUTS.items()
        if name == "answer" or "geojson" in bundle.runner.options
    }
    execute = _link(f"{about['links'][0]['href']}/execution", f"{_REL}execute", _JSON, "run it")
    return {**about, "links": [*about["links"], execute], "inputs": inputs, "outputs": outputs}


def _input(name: str, field: dict[str, Any]) -> dict[str, Any]:
    title = field.pop("description", name)
    found = {"title": title, "schema": field, "minOccurs": 0}
    return {**found, "maxOccurs": "unbounded"} if name == "text" else found


def status_info(job: Job, progress: int, message: str, prefix: str) -> dict[str, Any]:
    """A job's statusInfo."""
    href = f"{prefix}/jobs/{job.id}"
    links = [_link(href, "self", _JSON, "this job")]
    if job.status == SUCCESSFUL:
        links.append(_link(f"{href}/results", f"{_REL}results", _JSON, "its results"))
    about = {
        "processID": job.process,
        "type": "process",
        "jobID": job.id,
        "status": job.status,
        "message": message,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "updated": job.updated,
        "progress": progress,
    }
    return {**{key: value for key, value in about.items() if value not in (None, "")}, "links": links}


def _link(href: str, rel: str, kind: str, title: str) -> dict[str, str]:
    return {"href": href, "rel": rel, "type": kind, "title": title}
