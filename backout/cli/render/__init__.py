"""Pictures of the ledger: pure functions from records to what `rich` prints, at any width, with or without colour."""
