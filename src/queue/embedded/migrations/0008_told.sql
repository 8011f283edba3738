-- Which execution gave its job back, and how, also after the job's row, or its mark there, has gone with a later end. Kept for
-- minutes.
CREATE TABLE tikkun_told (mark TEXT PRIMARY KEY, told_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tikkun_told_at ON tikkun_told (told_at);
