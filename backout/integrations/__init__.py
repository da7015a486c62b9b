"""Integrations with web frameworks; each imports its framework, and nothing imports them but their framework."""
