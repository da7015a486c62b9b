"""Migrations of Django that make the ledger: one for each revision of its schema."""
