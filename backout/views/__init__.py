"""What people are shown of runs, whatever shows it: words and readings, without a terminal and without HTML."""
