"""The rules of design §6 that keep state exactly-once, by name, and where the code keeps each.

The model (`machine`), the conformance test and comments in the code use these names. `test_rules` checks that the
places exist; that they do what the model believes is what the conformance test shows.
"""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """What is lost without a rule is found by `test_model`: a shortest run that ends badly."""

    COMPARE = "compare"
    """§6.5: a script first compares progress with what its owner expects."""
    SKIP = "skip"
    """§6.2: a state carries the offset up to which it holds its entity's events, and skips those."""
    TOKEN = "token"
    """§6.5: taking over stores a random token; a number could be given out twice by a store that forgets."""
    SINGLE_USE = "single_use"
    """§6.5: a token is sent once; of two primaries only one may know it."""
    SEQ = "seq"
    """§6.5: every script counts, so the store cannot forget one of a flush unseen."""
    OFFSET_LAST = "offset_last"
    """§6.5: only the last script of a flush moves the offset."""
    CHECKED_LOADS = "checked_loads"
    """§6.5: a load that meets another progress is not used."""
    START_FROM_STORE = "start_from_store"
    """§6.5: consuming begins at the store's offset, not at Kafka's committed one."""
    RESTORING = "restoring"
    """§6.6: a store into which states are being brought back says so until all are there."""
    DROP_ON_DOUBT = "drop_on_doubt"
    """§6.6: after a refusal or a lost reply nothing goes on under the old token."""
    IDLE_CHECK = "idle_check"
    """§6.6: an idle owner looks whether the store still is what it believes."""
    OUTPUTS_FIRST = "outputs_first"
    """§6.8: the offset moves when the outputs of the events below are out."""
    OUTPUTS_OF_SKIPPED = "outputs_of_skipped"
    """§6.8: a skipped event makes its entity's output due as well."""
    FILTER_WITH_OFFSET = "filter_with_offset"
    """§6.9: the duplicate filter is written by the script that moves the offset."""
    REPLAY_REGISTERS = "replay_registers"
    """§6.9: skipped events are registered as duplicates-to-be again."""
    LENGTH = "length"
    """§6.10: a front that did not meet the value it was meant for is undone and refused."""


PLACES: dict[Rule, str] = {
    Rule.COMPARE: "stores/write.lua",
    Rule.SKIP: "engine.state:PartitionState.apply",
    Rule.TOKEN: "stores/take_over.lua",
    Rule.SINGLE_USE: "stores.redis:no_retries",
    Rule.SEQ: "stores.fence:PartitionFence.prepare",
    Rule.OFFSET_LAST: "processor.partition:PartitionOwner.begin_flush",
    Rule.CHECKED_LOADS: "stores.fence:PartitionFence.load",
    Rule.START_FROM_STORE: "processor.partition:PartitionOwner.start",
    Rule.RESTORING: "stores/take_over.lua",
    Rule.DROP_ON_DOUBT: "stores.fence:PartitionFence.send",
    Rule.IDLE_CHECK: "stores.fence:PartitionFence.check",
    Rule.OUTPUTS_FIRST: "processor.outputs:Outputs.held_from",
    Rule.OUTPUTS_OF_SKIPPED: "processor.pending:Pending.seen",
    Rule.FILTER_WITH_OFFSET: "engine.duplicates:DuplicateFilter.changes",
    Rule.REPLAY_REGISTERS: "engine.duplicates:DuplicateFilter.accept",
    Rule.LENGTH: "stores/write.lua",
}
"""Where the rule is kept: `module:function` of the package, or a script that has a comment `rule: <name>`."""
