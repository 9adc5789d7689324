"""Answering scenes as they arrive in a folder, for weeks, without anybody there.

`inbox` says which files are whole scenes and which goes first, `records` keeps on the disk what became of each,
`supervisor` runs the work in a process that may crash or hang, `downlink` chooses what is sent down within a budget of
bytes, and `watcher` does all of this in a loop.
"""
