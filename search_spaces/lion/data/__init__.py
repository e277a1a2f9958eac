"""Data that the space ships: its sources and licences are in NOTICE.md beside it."""
