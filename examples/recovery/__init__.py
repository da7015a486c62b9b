"""Six pipelines, each with the failure that it is about. Start with README.md."""
