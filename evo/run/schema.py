"""The tables of run.db. Raise `SCHEMA_VERSION` with every change of meaning, and keep an old file as a test."""

SCHEMA_VERSION = 1

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks (first_id INTEGER PRIMARY KEY, n INTEGER NOT NULL, told INTEGER NOT NULL,
    misses_untold INTEGER NOT NULL, window_end INTEGER NOT NULL);
CREATE TABLE proposals (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, genome TEXT NOT NULL, parents TEXT NOT NULL,
    operator TEXT NOT NULL, salt INTEGER NOT NULL, thresholds TEXT);
CREATE TABLE identities (id INTEGER PRIMARY KEY, function INTEGER NOT NULL, source TEXT NOT NULL,
    key BLOB, grid_a BLOB, grid_b BLOB, miss INTEGER NOT NULL);
CREATE TABLE late_identities (id INTEGER PRIMARY KEY, function INTEGER NOT NULL, digest BLOB NOT NULL);
CREATE TABLE observations (function INTEGER NOT NULL, rung TEXT NOT NULL, seed INTEGER NOT NULL,
    request INTEGER NOT NULL, status TEXT NOT NULL, vals BLOB NOT NULL, behaviour BLOB, extra TEXT, message TEXT,
    fingerprint BLOB, PRIMARY KEY (function, rung, seed, request)) WITHOUT ROWID;
CREATE TABLE commits (id INTEGER PRIMARY KEY, status TEXT NOT NULL, rung INTEGER NOT NULL, vals BLOB NOT NULL,
    behaviour BLOB, extra TEXT);
CREATE TABLE tells (seq INTEGER PRIMARY KEY, id INTEGER NOT NULL);
CREATE TABLE evaluations (id INTEGER NOT NULL, rung TEXT NOT NULL, seconds REAL NOT NULL, attempts INTEGER NOT NULL,
    worker TEXT NOT NULL, finished REAL NOT NULL);
CREATE TABLE snapshots (first_id INTEGER PRIMARY KEY, told INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE audits (id INTEGER PRIMARY KEY, function INTEGER NOT NULL, rung TEXT NOT NULL, seed INTEGER NOT NULL,
    expected BLOB NOT NULL, found BLOB NOT NULL, agrees INTEGER NOT NULL);
CREATE TABLE reports (row TEXT NOT NULL);
CREATE TABLE events (time REAL NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL);
CREATE TABLE status (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL);
"""
