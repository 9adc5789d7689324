"""Which backend, on how many threads, runs each graph of a bundle fastest on this machine, and remembering it.

- `choice`: what was chosen, for which bundle and on which machine;
- `store`: the records of choices on disk;
- `duel`: times two runners in turns until it is known whether one of them is faster;
- `tune`: measures a bundle and remembers the choice.
"""
