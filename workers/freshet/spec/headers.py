"""Names of the headers by which Freshet marks records of Kafka.

A dead letter says where it came from and why; a replayed one whom it is for; a control record what is to be done.
"""

from __future__ import annotations

CONTROL = "freshet-control"
"""On a record of a source topic with an empty value: what its reader is to do. `erase` is all there is."""
ERASE = "erase"
REQUEST = "freshet-request"
"""UUID by which the sender of a control record finds its receipt."""

FOR = "freshet-for"
"""On a replayed dead letter: the one revision (namespace/featureset/revision) that counts the record."""
SOURCE_TOPIC_ID = "freshet-source-topic-id"
SOURCE_PARTITION = "freshet-source-partition"
SOURCE_OFFSET = "freshet-source-offset"
"""On a replayed dead letter: where the record stood that was refused."""

FEATURESET = "freshet-featureset"
"""On a dead letter: namespace/featureset/revision that refused it."""
TOPIC = "freshet-topic"
TOPIC_ID = "freshet-topic-id"
PARTITION = "freshet-partition"
OFFSET = "freshet-offset"
TIMESTAMP = "freshet-timestamp"
"""Broker time of the refused record, ms since 1970."""
REASON = "freshet-reason"
SENTENCE = "freshet-sentence"
FIRST_SEEN = "freshet-first-seen"
"""When it was refused, ms since 1970."""
