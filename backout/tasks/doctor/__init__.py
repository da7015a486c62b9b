"""Checks a running installation: facts are collected, findings are made of them."""
