"""`rsvl serve`: bundles behind HTTP. FastAPI and uvicorn (the extra ``[serve]``) are imported here and nowhere else.

What comes in goes through these modules in order:

- `observed` gives each request an id, and counts and logs it;
- `access` refuses who may not ask, `bodies` what is too large or too slow;
- `app` has the routes: `short_requests` reads what is asked and `forms` answers; `processes` and `job_routes` are the
  jobs, in the shape of OGC API - Processes;
- `lanes` runs short requests, `jobs` keeps the queue of jobs, `job_runner` runs them, each in a process of its own
  (`job_process`);
- `bundles` holds what is served and exchanges it, `roots` the folders whose images may be named.

`service` puts these together, `server` listens. The web page is in ``page/``.
"""
