-- What an erasure leaves of an event's id: 64 bits of XXH3 of (entity, event id), as duplicate filters keep it. Whoever makes
-- states of this table must recognise an erased event that was sent again behind its erasure, as processors did then.
-- Everybody queues behind whoever waits for the whole table: better not for long, and again later.
SET LOCAL lock_timeout = '5s';
ALTER TABLE event_log ADD COLUMN id_hash bigint;
