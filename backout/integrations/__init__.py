"""Frameworks: each fetches objects for its framework, offers the same verbs, and decides nothing."""
