"""Scenes of any size, block by block: each block's part is a file, and the parts that are there need not be done again.

`blocks` cuts a scene into blocks of tiles, `plan` says what is asked of it, `work` does one block and puts its part in
place, `parts` is that file, `merge` makes results of all parts, and `scene_run` does all of this in order.
"""
