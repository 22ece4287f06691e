"""Recordings separated over HTTP: a page for browsers and an API, for one machine or a few people."""
