"""A model of broker, workers, clock and ledger around the real decisions, explored state by state.

The decisions are the engine's own: `advance`, `plan_rollback`, `classify` and the arrows of `TRANSITIONS`. What stands
around them is modelled: messages that are lost, doubled and late, workers that die or are cut off, and what the ledger
writes. `test_conformance` replays walks through the model on a real ledger, so that the two cannot drift apart.
"""
