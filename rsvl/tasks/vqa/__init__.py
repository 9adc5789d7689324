"""Visual question answering about an optical and a SAR image of one place."""
