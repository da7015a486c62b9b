"""What did happen: the only package that imports SQLAlchemy."""
