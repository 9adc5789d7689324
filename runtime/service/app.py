"""The routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse

import rsvl
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.progress import Progress
from rsvl.runtime.service import job_routes, processes
from rsvl.runtime.service.bundles import ServedBundle
from rsvl.runtime.service.forms import Answer, negotiated, preview_jpeg
from rsvl.runtime.service.inputs import ShortInputs, checked
from rsvl.runtime.service.lanes import AbandonedError
from rsvl.runtime.service.problems import RequestError, problem_of
from rsvl.runtime.service.service import Service
from rsvl.runtime.service.short_requests import Images, add_named, answer, check_asked, check_pixels, read_request

_PAGE = Path(__file__).parent / "page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HTML = {"Content-Security-Policy": _POLICY, "Vary": "Accept", "Cache-Control": "no-cache"}
_PREVIEW_SIDE = 1024
router = APIRouter()


def create_app(service: Service) -> FastAPI:
    """The routes of a service, as an application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await run_in_threadpool(service.stop)

    app = FastAPI(
        title="rsvl",
        version=rsvl.__version__,
        description="Remote-sensing vision-language models: short requests, and jobs for scenes.",
        openapi_url="/api",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(router)
    app.include_router(job_routes.router)
    app.add_exception_handler(RequestError, _told)
    app.add_exception_handler(HTTPException, _told_by_framework)
    return app


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.response()


async def _told_by_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {404: "no such page: GET / lists what there is", 405: "not by this method: GET /api lists what there is"}
    return RequestError(
        error.status_code, detail.get(error.status_code, str(error.detail)), headers=error.headers
    ).response()


def service_of(request: Request) -> Service:
    """The service of a request."""
    found: Service = request.app.state.service
    return found


def tell(request: Request, **about: Any) -> None:
    """Adds to what the log says of a request."""
    request.scope["state"]["log"].update(about)


@router.get("/", summary="The landing page: HTML for browsers, JSON otherwise")
async def landing(request: Request) -> Response:
    """A page to try the service, or the links of OGC API - Processes."""
    if "text/html" in request.headers.get("accept", ""):
        return FileResponse(_PAGE / "index.html", headers=_HTML)
    return JSONResponse(processes.landing(request.scope.get("root_path", "")), headers={"Vary": "Accept"})


@router.get("/page/{name}", include_in_schema=False)
async def page(name: str) -> Response:
    """The page's style and program."""
    if name not in ("page.css", "page.js"):
        raise RequestError(404, "no such page: GET / lists what there is")
    return FileResponse(_PAGE / name, headers={"Cache-Control": "no-cache"})


@router.get("/conformance")
async def conformance() -> dict[str, Any]:
    """The conformance classes of OGC API - Processes."""
    return {"conformsTo": processes.CONFORMANCE}


@router.get("/health/live")
async def live(request: Request) -> dict[str, str]:
    """Whether the process works; 503 when every thread hangs, so that a supervisor starts it again."""
    if service_of(request).lanes.stuck:
        raise RequestError(503, "every thread hangs in a graph: start the service again")
    return {"status": "live"}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, Any]:
    """Whether requests are answered: every bundle is loaded and has passed its golden test."""
    service = service_of(request)
    if service.ends or service.lanes.stuck:
        raise RequestError(503, "the service ends or hangs: ask another", headers={"Retry-After": "5"})
    return {"status": "ready", "bundles": {bundle.name: bundle.sha256 for bundle in service.bundles}}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus."""
    service = service_of(request)
    service.metrics.waiting.set(service.lanes.waiting)
    service.metrics.running.set(service.lanes.running)
    for status, count in (await run_in_threadpool(service.jobs.counts)).items():
        service.metrics.jobs.labels(status).set(count)
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/bundles")
async def bundles(request: Request) -> dict[str, Any]:
    """The bundles that are served, and the limits of requests."""
    service = service_of(request)
    return {
        "bundles": [bundle.to_dict() for bundle in service.bundles],
        "limits": {
            name: getattr(service.limits, name)
            for name in ("upload_bytes", "scene_bytes", "pixels", "sentences", "letters", "seconds", "body_seconds")
        },
    }


@router.get("/bundles/{name}")
async def bundle(request: Request, name: str) -> dict[str, Any]:
    """One bundle."""
    return service_of(request).bundles.find(name).to_dict()


@router.post("/bundles/{name}/reload")
async def reload(request: Request, name: str) -> dict[str, Any]:
    """Loads a bundle again. It takes over when its golden test has passed; what runs ends on the old one."""
    found = await run_in_threadpool(service_of(request).bundles.reload, name)
    tell(request, bundle=name, bundle_sha256=found.sha256)
    return found.to_dict()


@router.get("/images")
async def images(request: Request) -> dict[str, Any]:
    """Images in the folders of the server, at most 200: each may be named in a request."""
    return {"images": await run_in_threadpool(service_of(request).roots.images)}


@router.get("/preview/{name:path}", response_class=Response)
async def preview(request: Request, name: str) -> Response:
    """An image of a folder, at most 1024 pixels long, as a JPEG."""
    service = service_of(request)
    path = await run_in_threadpool(service.roots.find, name)
    found = Images()
    found.add("optical", path, name)
    pixels = await _in_lane(request, partial(_preview, service, found), found.names)
    return Response(pixels, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})


def _preview(service: Service, images: Images, progress: Progress) -> bytes:
    check_pixels(images, service.limits)
    scene = open_scene(next(iter(images.paths.values())))
    try:
        return preview_jpeg(scene.thumbnail(_PREVIEW_SIDE))
    finally:
        scene.close()


_ASK = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "allOf": [
                        ShortInputs.model_json_schema(),
                        {"properties": {"image": {"format": "binary"}, "sar": {"format": "binary"}}},
                    ]
                }
            },
            "application/json": {"schema": ShortInputs.model_json_schema()},
        },
    },
    "responses": {
        "200": {
            "description": "The answer, in the form that `format` or Accept says.",
            "content": {kind: {} for kind in ("application/json", "image/png", "image/tiff", "application/geo+json")},
        },
        "4XX": {"description": "What is wrong with the request.", "content": {"application/problem+json": {}}},
    },
}


@router.post("/bundles/{name}/ask", openapi_extra=_ASK, response_class=Response)
async def ask(request: Request, name: str) -> Response:
    """A short request: an image, sent or named, and what is asked of it."""
    service = service_of(request)
    found = service.bundles.find(name)
    tell(request, bundle=name, bundle_sha256=found.sha256)
    values, sent = await read_request(request, service.limits, service.uploads)
    try:
        inputs = checked(ShortInputs, values, service.limits)
        form = negotiated(request.headers.get("accept", ""), inputs.format)
        check_asked(found, inputs)
        add_named(sent, inputs, service.roots)
        answered = await _in_lane(request, partial(_answer, service, found, inputs, sent, form), sent.names)
    finally:
        sent.remove_uploads()
    return Response(answered.body, media_type=answered.media_type, headers={"Cache-Control": "no-store"})


def _answer(
    service: Service, bundle: ServedBundle, inputs: ShortInputs, images: Images, form: str, progress: Progress
) -> Answer:
    def counted(done: float, total: float, stage: str = "", detail: str = "") -> None:
        progress(done, total, stage, detail)
        service.count_tiles(bundle.name, 1)

    return answer(bundle, inputs, images, form, service.limits, counted)


async def _in_lane(request: Request, work: Any, names: dict[str, str]) -> Any:
    """Runs work in a lane; what fails is told with the client's names of files."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            await asyncio.sleep(0)

    try:
        return await service_of(request).lanes.run(work, left)
    except AbandonedError:
        raise RequestError(499, "the client has gone") from None
    except RequestError:
        raise
    except Exception as error:
        problem = problem_of(error, names)
        if problem.status == 500:
            raise
        raise problem from error
