"""Visual grounding: a sentence, and the box of what it names."""
