-- A database of schema version 1, as the release that introduced it wrote it: one session that was stopped and
-- one that was killed.
BEGIN TRANSACTION;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    watch INTEGER NOT NULL REFERENCES watches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    start_time REAL NOT NULL,
    stop_time REAL NOT NULL,
    peak_time REAL NOT NULL,
    peak_score REAL NOT NULL,
    region_left REAL,
    region_top REAL,
    region_right REAL,
    region_bottom REAL,
    clip TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'interrupted')),
    UNIQUE (watch, number)
) STRICT;
INSERT INTO "events" VALUES(1,1,0,1790000005.0,1790000009.0,1790000006.0,0.8,0.0,0.25,0.5,1.0,'clips/gate-0.mp4','closed');
INSERT INTO "events" VALUES(2,2,0,1.0,2.5,1.5,0.7,NULL,NULL,NULL,NULL,NULL,'open');
CREATE TABLE outages (
    id INTEGER PRIMARY KEY,
    watch INTEGER NOT NULL REFERENCES watches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    start_time REAL NOT NULL,
    stop_time REAL,
    reason TEXT NOT NULL,
    UNIQUE (watch, number)
) STRICT;
INSERT INTO "outages" VALUES(1,1,0,1790000012.0,1790000015.0,'Connection refused');
CREATE TABLE timeline (
    watch INTEGER NOT NULL REFERENCES watches (id) ON DELETE CASCADE,
    start_time REAL NOT NULL,
    seconds REAL NOT NULL,
    segments INTEGER NOT NULL,
    max_score REAL NOT NULL,
    mean_score REAL NOT NULL,
    frames INTEGER NOT NULL,
    dropped_frames INTEGER NOT NULL,
    latency_mean REAL,
    latency_max REAL,
    PRIMARY KEY (watch, start_time)
) STRICT, WITHOUT ROWID;
INSERT INTO "timeline" VALUES(1,1790000000.0,10.0,15,0.75,0.25,240,0,0.125,0.5);
INSERT INTO "timeline" VALUES(1,1790000010.0,10.0,15,0.75,0.25,240,1,0.125,0.5);
INSERT INTO "timeline" VALUES(1,1790000020.0,10.0,15,0.75,0.25,240,2,0.125,0.5);
INSERT INTO "timeline" VALUES(2,0.0,10.0,15,0.5,0.25,240,0,NULL,NULL);
CREATE TABLE watches (
    id INTEGER PRIMARY KEY,
    camera TEXT NOT NULL,
    source TEXT NOT NULL,
    run TEXT NOT NULL,
    model_sha256 TEXT NOT NULL,
    extractor TEXT NOT NULL,
    threshold REAL NOT NULL,
    clock TEXT NOT NULL CHECK (clock IN ('wall', 'file')),
    started REAL NOT NULL,
    seen REAL NOT NULL,
    stopped REAL,
    reason TEXT
) STRICT;
INSERT INTO "watches" VALUES(1,'gate','rtsp://10.0.0.5/cam','run','abababababababababababababababababababababababababababababababab','motion',0.5,'wall',1790000000.0,1790000030.0,1790000030.0,'stopped');
INSERT INTO "watches" VALUES(2,'yard','yard.mp4','run','abababababababababababababababababababababababababababababababab','motion',0.5,'file',1790000001.0,1790000011.0,NULL,NULL);
CREATE INDEX events_by_time ON events (start_time);
COMMIT;
PRAGMA user_version = 1;
