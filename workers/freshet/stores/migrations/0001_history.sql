-- History (design §8): what the log held, what was served, states to start again from. Times are broker time unless said.

-- Every record of a source topic, once. Views and columns for people are at the end.
CREATE TABLE event_log (
    topic_id    uuid        NOT NULL,
    partition   integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    broker_time timestamptz NOT NULL,
    -- 0 accepted, 1 duplicate, 2 invalid (a dead letter of every FeatureSet), 3 erased, 4 control record,
    -- 5 accepted but refused by PostgreSQL (text with NUL): only its place is kept
    status      smallint    NOT NULL,
    topic       text        NOT NULL,
    entity      text,
    event_id    text,
    event_time  timestamptz,
    -- namespace/featureset/revision that a replayed dead letter is for; no other FeatureSet counts it
    replay_for  text,
    -- the JSON as it was sent; null where status is 2 to 5
    payload     json,
    PRIMARY KEY (topic_id, partition, "offset", broker_time)
) PARTITION BY RANGE (broker_time);
-- Rows of days that have no partition: broker times that are far off. Moved when their day gets one.
CREATE TABLE event_log_other PARTITION OF event_log DEFAULT;
CREATE INDEX event_log_entity ON event_log (entity, event_time);

-- Every record of feature-events, once. A vector that was sent twice (after a crash) stands twice, each true as of its as_of.
CREATE TABLE feature_snapshots (
    topic_id         uuid        NOT NULL,
    partition        integer     NOT NULL,
    "offset"         bigint      NOT NULL,
    broker_time      timestamptz NOT NULL,
    featureset       text        NOT NULL,
    version          text        NOT NULL,
    revision         text        NOT NULL,
    entity           text        NOT NULL,
    source_partition integer     NOT NULL,
    -- every event of the entity below it, and none from it on, is in the values
    source_offset    bigint      NOT NULL,
    as_of            timestamptz NOT NULL,
    features         json        NOT NULL,
    PRIMARY KEY (topic_id, partition, "offset", broker_time)
) PARTITION BY RANGE (broker_time);
CREATE TABLE feature_snapshots_other PARTITION OF feature_snapshots DEFAULT;
CREATE INDEX feature_snapshots_entity ON feature_snapshots (entity, featureset, as_of DESC);

-- How far each partition of each recorded topic is; token is the fence of design §6.5.
CREATE TABLE recorded (
    topic_id     uuid    NOT NULL,
    partition    integer NOT NULL,
    topic        text    NOT NULL,
    token        uuid    NOT NULL,
    -- process id of the owner's database session: who takes over may have to end it
    backend      integer NOT NULL,
    -- without a hole, every record from first_offset until before next_offset is in the table of the topic's kind
    first_offset bigint  NOT NULL,
    next_offset  bigint  NOT NULL,
    -- largest broker time so far (log time), ms since 1970
    log_ms       bigint  NOT NULL DEFAULT -1,
    -- every record whose log time is within `deduplicate` of log_ms lies from here on
    duplicates_from bigint NOT NULL,
    -- the revisions (namespace/featureset/revision, separated by spaces) that have judged every record from judged_from on:
    -- a record that none of them accepts has no entity, though another revision's state may hold it
    judged_by    text    NOT NULL DEFAULT '',
    judged_from  bigint  NOT NULL DEFAULT 0,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition)
);

-- How long the recorders keep each table, by the FeatureSets that they know; no row or null: for ever.
CREATE TABLE retention (
    table_name text        PRIMARY KEY,
    keep_ms    bigint,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- A checkpoint: every event of the partition below "offset" is in entity_states, and duplicates_index with its buckets is the
-- filter as of exactly "offset". owner is namespace/featureset/revision.
CREATE TABLE checkpoints (
    owner            text        NOT NULL,
    partition        integer     NOT NULL,
    topic_id         uuid        NOT NULL,
    "offset"         bigint      NOT NULL,
    duplicates_index bytea,
    taken_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, partition)
);
CREATE TABLE checkpoint_buckets (
    owner     text    NOT NULL,
    partition integer NOT NULL,
    minute    bigint  NOT NULL,
    data      bytea   NOT NULL,
    PRIMARY KEY (owner, partition, minute)
);
CREATE TABLE entity_states (
    owner      text    NOT NULL,
    partition  integer NOT NULL,
    entity     text    NOT NULL,
    -- the state holds all of the entity's events below it
    "offset"   bigint  NOT NULL,
    -- when nothing in the state can be read any more; null: never
    expires_at timestamptz,
    state      bytea   NOT NULL,
    PRIMARY KEY (owner, partition, entity)
);
ALTER TABLE entity_states ALTER COLUMN state SET STORAGE EXTERNAL;

-- Dead letters by where they came from: a letter that was sent twice is one row.
CREATE TABLE dead_letters (
    source_topic_id  uuid        NOT NULL,
    source_partition integer     NOT NULL,
    source_offset    bigint      NOT NULL,
    -- namespace/featureset/revision that refused it
    owner            text        NOT NULL,
    source_topic     text        NOT NULL,
    source_time      timestamptz NOT NULL,
    reason           text        NOT NULL,
    sentence         text        NOT NULL,
    first_seen       timestamptz NOT NULL,
    key              bytea,
    payload          bytea,
    -- whom it is about as far as that can be told: the payload's key field, else the key; for erasures
    entity           text,
    -- open, replaying (sent, and not yet seen in the log), replayed, discarded
    status           text        NOT NULL DEFAULT 'open',
    changed_at       timestamptz NOT NULL DEFAULT now(),
    replayed_partition integer,
    replayed_offset    bigint,
    PRIMARY KEY (source_topic_id, source_partition, source_offset, owner)
);
CREATE INDEX dead_letters_status ON dead_letters (status, first_seen);
CREATE INDEX dead_letters_entity ON dead_letters (entity);
-- Keys of foreign topics may be longer than a B-tree takes.
CREATE INDEX dead_letters_key ON dead_letters USING hash (key);

-- What somebody asked to have forgotten: noted before the control record is sent, so that no replay comes behind it.
CREATE TABLE erasure_requests (
    request_id   uuid        NOT NULL,
    topic        text        NOT NULL,
    entity       text        NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    -- where the control record stands; null while it is not known to be in the log
    topic_id     uuid,
    partition    integer,
    "offset"     bigint,
    -- by topic when Kafka will have dropped what it still holds; null for a topic that keeps its records for ever
    kept_until   jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (request_id, topic)
);
CREATE INDEX erasure_requests_entity ON erasure_requests (entity);

-- Control records in the log: below "offset" nothing of the entity is kept, here or in any rebuild. The row comes with the
-- record's own transaction and keeps later writers off; the older rows are then removed in small steps.
CREATE TABLE erasures (
    topic_id     uuid        NOT NULL,
    partition    integer     NOT NULL,
    "offset"     bigint      NOT NULL,
    topic        text        NOT NULL,
    entity       text        NOT NULL,
    -- null for a record that nobody asked for here
    request_id   uuid,
    -- broker time of the control record
    erased_at    timestamptz NOT NULL,
    -- when all rows were gone; null: not yet
    applied_at   timestamptz,
    -- rows by table
    removed      jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (topic_id, partition, "offset")
);
CREATE INDEX erasures_entity ON erasures (entity);
CREATE INDEX erasures_request ON erasures (request_id);
CREATE INDEX erasures_waiting ON erasures ("offset") WHERE applied_at IS NULL;

-- For people: the events that count (E of design §5).
CREATE VIEW events AS
    SELECT topic, topic_id, partition, "offset", broker_time, event_time, entity, event_id, payload
    FROM event_log WHERE status = 0 AND replay_for IS NULL;
