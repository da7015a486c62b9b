"""The command line: `backout …` and `celery -A proj backout …`."""
