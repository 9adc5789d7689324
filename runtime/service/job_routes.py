"""The routes of processes and jobs: OGC API - Processes 1.0."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from rsvl.runtime.images.size import image_size
from rsvl.runtime.service import processes
from rsvl.runtime.service.bundles import ServedBundle
from rsvl.runtime.service.inputs import JobInputs, checked
from rsvl.runtime.service.jobs import DISMISSED, FAILED, RUNNING, STATUSES, SUCCESSFUL, Job, new_id
from rsvl.runtime.service.problems import NO_JOB, NOT_READY, RequestError, problem_of
from rsvl.runtime.service.service import Service
from rsvl.runtime.service.short_requests import Images, add_named, check_asked, read_request

router = APIRouter()
_KEYS = {"inputs", "outputs", "response"}
_EXECUTE = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"inputs": JobInputs.model_json_schema(), "outputs": {"type": "object"}},
                    "required": ["inputs"],
                }
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": {"type": "string", "format": "binary"},
                        "sar": {"type": "string", "format": "binary"},
                        "execute": {"type": "string", "description": "What the JSON body would be."},
                    },
                }
            },
        },
    }
}


def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


def _prefix(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


@router.get("/processes")
async def list_processes(request: Request) -> dict[str, Any]:
    """The bundles, as processes."""
    prefix = _prefix(request)
    found = [processes.summary(bundle, prefix) for bundle in _service(request).bundles]
    link = {"href": f"{prefix}/processes", "rel": "self", "type": "application/json"}
    return {"processes": found, "links": [link]}


@router.get("/processes/{name}")
async def describe(request: Request, name: str) -> dict[str, Any]:
    """A process: its inputs and outputs."""
    return processes.description(_service(request).bundles.find(name), _prefix(request))


@router.post("/processes/{name}/execution", status_code=201, openapi_extra=_EXECUTE)
async def execute(request: Request, name: str) -> Response:
    """Accepts a job. All jobs run asynchronously, whether ``Prefer: respond-async`` says so or not."""
    service = _service(request)
    bundle = service.bundles.find(name)
    request.scope["state"]["log"].update(bundle=name, bundle_sha256=bundle.sha256)
    values, sent = await read_request(request, service.limits, service.uploads)
    try:
        job = await run_in_threadpool(_accept, service, bundle, values, sent)
    finally:
        sent.remove_uploads()
    service.job_runner.wake()
    headers = {"Location": f"{_prefix(request)}/jobs/{job.id}", "Preference-Applied": "respond-async"}
    return JSONResponse(_status(request, job), 201, headers)


def _accept(service: Service, bundle: ServedBundle, values: dict[str, Any], sent: Images) -> Job:
    uploads = dict(sent.paths)
    asked = _asked(values)
    inputs = checked(JobInputs, asked, service.limits)
    check_asked(bundle, inputs)
    add_named(sent, inputs, service.roots)
    for path in sent.paths.values():
        try:
            image_size(path)
        except Exception as error:
            raise problem_of(error, sent.names) from error
    job_id = new_id()
    folder = service.jobs.folder_of(job_id)
    try:
        for sensor, path in uploads.items():
            folder.mkdir(exist_ok=True)
            _move(path, folder / sensor)
        names = {sensor: sent.names[str(path)] for sensor, path in uploads.items()}
        given = inputs.model_dump(exclude_unset=True)
        return service.jobs.add(bundle.name, {"asked": given, "sent": names}, service.limits.jobs, job_id)
    except BaseException:
        service.jobs.remove_files(job_id)
        raise


def _asked(values: dict[str, Any]) -> Any:
    """The inputs of an execute request.

    Raises:
        RequestError: it has no inputs, asks for what there is not, or for a request to another host.
    """
    if set(values) == {"execute"}:
        try:
            values = json.loads(values["execute"])
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"the field execute is no JSON ({error})") from error
    if not isinstance(values, dict) or not isinstance(values.get("inputs"), dict):
        raise RequestError(400, 'no inputs: send {"inputs": {"image": NAME, "text": [SENTENCE]}}')
    if "subscriber" in values:
        raise RequestError(422, "a subscriber: this service sends nothing to any other host, ask for the job's status")
    if more := sorted(set(values) - _KEYS):
        raise RequestError(422, f"{more[0][:100]}: unknown: give inputs and outputs")
    outputs = values.get("outputs", {})
    unknown = [name for name in outputs if name not in processes.OUTPUTS] if isinstance(outputs, dict) else ["outputs"]
    if unknown:
        known = ", ".join(processes.OUTPUTS)
        raise RequestError(422, f"no output is called {str(unknown[0])[:100]}: there are {known}")
    return values["inputs"]


def _move(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


@router.get("/jobs")
async def list_jobs(
    request: Request,
    limit: int = Query(100, ge=1, le=1000),
    status: list[str] = Query([]),  # noqa: B008
    process_id: list[str] = Query([], alias="processID"),  # noqa: B008
) -> dict[str, Any]:
    """Jobs, the newest first."""
    if unknown := [each for each in status if each not in STATUSES]:
        raise RequestError(400, f"no status is called {unknown[0][:50]!r}: there are {', '.join(STATUSES)}")
    jobs = await run_in_threadpool(_service(request).jobs.listed, limit, status, process_id)
    link = {"href": f"{_prefix(request)}/jobs", "rel": "self", "type": "application/json"}
    return {"jobs": [_status(request, job) for job in jobs], "links": [link]}


@router.get("/jobs/{job_id}")
async def job_status(request: Request, job_id: str) -> dict[str, Any]:
    """A job's status."""
    return _status(request, await run_in_threadpool(_service(request).jobs.find, job_id))


@router.delete("/jobs/{job_id}")
async def dismiss(request: Request, job_id: str) -> dict[str, Any]:
    """Ends a job and removes its results."""
    service = _service(request)
    before = await run_in_threadpool(service.jobs.find, job_id)
    job = await run_in_threadpool(service.jobs.dismiss, job_id)
    if before.status != RUNNING:  # of one that runs, its process is ended first
        await run_in_threadpool(service.jobs.remove_files, job_id)
    return _status(request, job)


@router.get("/jobs/{job_id}/results")
async def results(request: Request, job_id: str) -> dict[str, Any]:
    """A job's results, by reference."""
    job = await run_in_threadpool(_finished, _service(request), job_id)
    folder = _service(request).jobs.folder_of(job.id) / "results"
    href = f"{_prefix(request)}/jobs/{job.id}/results"
    return {
        name: {"href": f"{href}/{name}", "type": kind, "title": title}
        for name, (kind, title, files) in processes.OUTPUTS.items()
        if any((folder / file).is_file() for file in files)
    }


@router.get("/jobs/{job_id}/results/{output}", response_class=FileResponse)
async def result(request: Request, job_id: str, output: str) -> Response:
    """One of a job's results. The preview is there as soon as the job runs."""
    service = _service(request)
    find = service.jobs.find if output == "preview" else _finished_of(service)
    job = await run_in_threadpool(find, job_id)
    kind, _, files = processes.OUTPUTS.get(output, ("", "", ()))
    for file in files:
        path = service.jobs.folder_of(job.id) / "results" / file
        if path.is_file():
            return FileResponse(
                path, media_type=kind, filename=f"{job.id[:8]}-{file}", headers={"Cache-Control": "no-store"}
            )
    raise RequestError(404, f"this job has no {output[:50]}: GET /jobs/{job.id}/results lists what it has")


def _finished_of(service: Service) -> Any:
    return lambda job_id: _finished(service, job_id)


def _finished(service: Service, job_id: str) -> Job:
    """A job that was successful.

    Raises:
        RequestError: it was not, or not yet.
    """
    job = service.jobs.find(job_id)
    if job.status == FAILED:
        raise RequestError(job.problem or 500, job.message)
    if job.status == DISMISSED:
        raise RequestError(404, "the job was dismissed: its results are gone", NO_JOB)
    if job.status != SUCCESSFUL:
        raise RequestError(404, f"the job is {job.status}: ask for its results when it is successful", NOT_READY)
    return job


def _status(request: Request, job: Job) -> dict[str, Any]:
    progress, message = _service(request).job_runner.progress_of(job)
    return processes.status_info(job, progress, message, _prefix(request))
