"""Every measurement that needs an NVIDIA GPU, in one run of eight minutes: `make gpu`.

- `parts`: the table of parts; each runs in its own process under a time limit.
- `processes`, `child`: running a part, and its process.
- `record`: the JSON file and the Markdown page.
- the other files: the parts, generators of rows. A part that lacks a package, a compiler or a GPU raises
  `MissingComponentError` with the reason.

Starting it needs no installed rsvl, and no package but NumPy.
"""
