"""A studio takes bookings: a Flask app, a pipeline behind its form, and pages for its staff."""
