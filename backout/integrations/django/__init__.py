"""backout for Django: name `backout.integrations.django` in INSTALLED_APPS."""
