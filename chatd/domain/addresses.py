"""E-mail addresses: which ones chatd takes, and in what form it keeps them.

An address that a person types goes into the envelope and the header of a mail, so the rule is narrower than the grammar
of RFC 5322: what no mailbox of today uses (quoted local parts, comments, address literals, routes with `%` and `!`) is
refused, and with it every known way of making one address look like two or a header end early.

A local part that is not ASCII would need SMTPUTF8 (RFC 6531) at every server on the way. Few shops' servers have it and
the mail would come back days later; so it is refused while the person can still give another address. A domain that is
not ASCII has a plain form that works everywhere (RFC 5891, `xn--`), and is turned into it here.

That an address passes says nothing about whose it is.
"""

from __future__ import annotations

import re

from chatd.errors import InvalidInput, TooLarge

ADDRESS_CHARACTERS_MAX = 254  # RFC 5321 section 4.5.3.1.3: a path of 256 octets with its angle brackets
LOCAL_CHARACTERS_MAX = 64  # RFC 5321 section 4.5.3.1.1
DOMAIN_CHARACTERS_MAX = 253  # RFC 1035 section 2.3.4: 255 octets on the wire
EXAMPLE = "mia@example.com"

# RFC 5322 section 3.2.3 (dot-atom) without "!", "%" (routes), "/", "|", "`" (programs and files of old mail servers).
_LOCAL = re.compile(r"[A-Za-z0-9#$&'*+=?^_{}~-]+(?:\.[A-Za-z0-9#$&'*+=?^_{}~-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LAST_LABEL = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]{1,59}")
# The older rule (RFC 3490), which Python has, and today's (RFC 5892) make different domains of these four: somebody
# else's.
_AMBIGUOUS = frozenset("\u00df\u03c2\u200c\u200d")


def check_email(text: str) -> str:
    """The address as it is kept: trimmed, the domain in lower case and ASCII. Raises `InvalidInput` or `TooLarge` with
    a sentence that says what to mend and never repeats what was typed."""
    address = text.strip(" \t")
    if len(address) > ADDRESS_CHARACTERS_MAX:
        raise _too_long(len(address))
    if any(ord(character) < 32 or ord(character) == 127 for character in address):
        raise _invalid("the address holds a line break or another control character")
    if any(character.isspace() for character in address):
        raise _invalid("the address holds a space")
    if "," in address or ";" in address:
        raise _invalid("give one address only, without a comma or semicolon")
    local, at, domain = address.rpartition("@")
    if not at:
        raise _invalid("the @ is missing")
    if "@" in local:
        raise _invalid("there is more than one @")
    _check_local(local)
    domain = _checked_domain(domain)
    address = f"{local}@{domain}"
    if len(address) > ADDRESS_CHARACTERS_MAX:  # an xn-- form is longer than what was typed
        raise _too_long(len(address))
    return address


def domain_of(address: str) -> str:
    """What stands after the @ of an address that `check_email` has passed."""
    return address.rpartition("@")[2]


def _check_local(local: str) -> None:
    if not local:
        raise _invalid("there is nothing before the @")
    if not local.isascii():
        raise _invalid("only letters from a to z can stand before the @")
    if len(local) > LOCAL_CHARACTERS_MAX:
        raise _invalid(f"there are {len(local)} characters before the @, the limit is {LOCAL_CHARACTERS_MAX}")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise _invalid("a dot stands at the wrong place before the @")
    if not _LOCAL.fullmatch(local):
        raise _invalid("a character before the @ is not one that addresses have")


def _checked_domain(domain: str) -> str:
    domain = domain.lower()
    if not domain:
        raise _invalid("there is nothing after the @")
    if not domain.isascii():
        if _AMBIGUOUS & set(domain):
            raise _invalid("write the part after the @ in its form that begins with xn--")
        try:
            domain = domain.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise _invalid("what stands after the @ is no domain") from None
    labels = domain.split(".")
    if len(labels) < 2:
        raise _invalid("the ending of the domain (like .com) is missing")
    if len(domain) > DOMAIN_CHARACTERS_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid("what stands after the @ is no domain")
    if not _LAST_LABEL.fullmatch(labels[-1]):
        raise _invalid("the ending of the domain (like .com) is not one that exists")
    return domain


def _invalid(why: str) -> InvalidInput:
    return InvalidInput(f"this is not an e-mail address: {why}; expected one like {EXAMPLE}", what="email")


def _too_long(characters: int) -> TooLarge:
    return TooLarge(
        f"the e-mail address is {characters:,} characters, the limit is {ADDRESS_CHARACTERS_MAX}",
        what="email",
        characters=characters,
        characters_max=ADDRESS_CHARACTERS_MAX,
    )
