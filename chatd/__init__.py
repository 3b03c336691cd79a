"""chatd: live chat for online shops. The house is described in the README; nothing is done by importing this."""

__version__ = "0.1.0"
