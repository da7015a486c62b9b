"""What should happen: definitions, contracts, enqueue."""
