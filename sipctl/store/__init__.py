"""Durable memory of the control half: SQLite in one file, every write a transaction that is on disk when it returns."""
