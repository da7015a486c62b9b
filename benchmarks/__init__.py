"""How fast backout is, beside what people use today: `make bench`."""
