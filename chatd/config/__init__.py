"""Every setting of chatd: its name, default, bounds and meaning, in one place.

Settings come from the environment: `smtp_host` is `CHATD_SMTP_HOST`. A variable that is empty counts as not set, so a
compose file may list all of them. Reading tells every problem at once and names the variable, what was given and what
was expected; a secret is never part of a sentence, a table or a `repr`.

`read_settings()` is for programs: it also fetches the signing secret from the data directory, or makes one there at
the first start. `Settings(...)` made by hand is for tests and for the demo: what is left out is derived in the same
way, and a missing secret is a random one that lives as long as the process.

Times are numbers with their unit in the name. Nothing here opens a database or a socket; `chatd doctor` does that.

    settings    the struct: names, defaults, bounds, meanings
    values      one value: from text to its normal form
    reading     all of them: from the environment, and as a table
"""

from chatd.config.reading import (
    SECRET_FILE,
    Setting,
    SettingsError,
    read_settings,
    table,
    unknown_variables,
    variable_of,
)
from chatd.config.settings import SECRET_CHARACTERS_MIN, Settings, is_secret

__all__ = [
    "SECRET_CHARACTERS_MIN",
    "SECRET_FILE",
    "Setting",
    "Settings",
    "SettingsError",
    "is_secret",
    "read_settings",
    "table",
    "unknown_variables",
    "variable_of",
]
