"""Programs to be compared with, each run as a process of its own. They print `listens on PORT` and serve."""
