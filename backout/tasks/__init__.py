"""Making it happen: the path of an attempt, and its repair."""
