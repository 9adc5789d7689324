"""What only the makers of rsvl need: records of engines, operations beside plain layers, shipped weights, GPU checks.

It runs from a checkout of the repository and is not in the wheel.
"""
