"""The names of everything that outlives a process: consumer groups and online keys.

One place, because a reader, a writer and an access policy that disagree about a name fail silently. The table for
humans is `docs/naming.md`.
"""

from __future__ import annotations


def tag(namespace: str, featureset: str, revision: str, partition: int) -> str:
    """Prefix of every online key of a partition, with the braces that put them all on one shard (design §6.4)."""
    return f"{{{namespace}/{featureset}/{revision}/{partition}}}"


def owner(namespace: str, featureset: str, revision: str) -> str:
    """What history, dead letters and `freshet-for` headers call a revision."""
    return f"{namespace}/{featureset}/{revision}"


def progress_key(tag: str) -> str:
    """Key of the string `token:seq:offset:phase` (design §6.5)."""
    return f"{tag}:progress"


def source_key(tag: str) -> str:
    """Key of the id of the topic that the partition's state was made from (design §6.2)."""
    return f"{tag}:source"


def began_key(tag: str) -> str:
    """Key of `offset:kafka offset`: from where the partition's states were built, and from where on out of Kafka, not
    history. Absent if that is not known."""
    return f"{tag}:began"


def entity_key(tag: str, key: str) -> str:
    """Key of an entity's state."""
    return f"{tag}:e:{key}"


def duplicates_key(tag: str) -> str:
    """Key of the duplicate filter's index: its log time and which buckets there are (design §6.9)."""
    return f"{tag}:dup"


def duplicates_bucket_key(tag: str, minute: int) -> str:
    """Key of the duplicate filter's entries of one minute of log time."""
    return f"{tag}:dup:{minute}"


def consumer_group(namespace: str, featureset: str, revision: str) -> str:
    """The Kafka consumer group of a revision's processors."""
    return f"freshet.{namespace}.{featureset}.{revision}"


def rekeyed_topic(origin: str, entity: str) -> str:
    """The topic that holds the events of `origin` keyed by the entity: all FeatureSets of the two share it."""
    return f"{origin}.by.{entity}"


def rekey_group(topic: str) -> str:
    """The Kafka consumer group of those that fill a re-keyed topic, and the start of their transactional ids.

    Without a namespace, as topics are: whoever re-keys into one topic must share the work, or events come twice.
    """
    return f"freshet.rekey.{topic}"


def recorder_group(namespace: str) -> str:
    """The Kafka consumer group of the recorders of an installation."""
    return f"freshet.{namespace}.recorder"
