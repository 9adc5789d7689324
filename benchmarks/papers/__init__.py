"""The papers' tables as data, and beside them what is counted and measured here."""
