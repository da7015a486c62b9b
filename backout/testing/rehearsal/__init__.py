"""A pipeline run once for every place where it can fail: what would be undone, left behind, asked."""
