"""Taking it back."""
