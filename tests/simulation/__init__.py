"""Whole days of bad luck in milliseconds: several nodes of chatd, their customers and staff, on one clock that jumps.

What is real: the door with its handlers, the log, the projection and the outbox on SQLite (in memory), the hub, the bus
and presence with their line to Redis, the courier and its composer, and every socket with its protocol; that is
everything that `web.app.open_chat` joins. What is made up is what chatd cannot trust anyway: the disk's time and
temper (`disk`), Redis (`redis`), the network (`network`), the mail server (`mailserver`), the people (`people`).

A schedule follows from its seed alone: who does what, when a node is killed, what is lost, doubled, delayed, reordered
or cut. When the faults have ended, everything must come together within `world.CONVERGED_SECONDS`, and `check` holds
what everybody has been told against the database. A failure prints its seed:

    python -m tests.simulation --seed 4711 --count 1
"""
