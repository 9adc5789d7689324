"""What a machine with an NVIDIA GPU can tell, in one run of eight minutes: `make gpu`.

- `parts`: the table of parts; each runs in a process of its own with a time limit.
- `processes`, `child`: how one is run, and that process.
- `record`: the JSON file and the page that are kept.
- the other files: the parts themselves, generators of rows. A part that lacks something raises
  `MissingComponentError`, which says what.

Neither an installed rsvl nor a package beyond the standard library is needed to start it.
"""
