"""Tools for testing pipelines, public as everything that a user's own tests need."""
