"""The papers' tables as data, beside what is counted and measured here."""
