// @ts-check
/**
 * A kind look at a typed e-mail address.
 *
 * Promises: it refuses only what surely cannot be written to, says what is missing, and offers the likely address where a
 * well-known domain is misspelt. Whether the address is real, only a mail can tell.
 */

/** Among them, those that would otherwise look like a slip in another one. */
const WELL_KNOWN = (
  "gmail.com hotmail.com outlook.com yahoo.com icloud.com live.com aol.com mail.com email.com ymail.com " +
  "gmx.de web.de mail.ru yandex.ru qq.com 163.com orange.fr"
).split(" ");
const CHARACTERS_MAX = 254; // RFC 5321 section 4.5.3.1.3

/**
 * @param {string} typed
 * @returns {"" | "email_at" | "email_incomplete" | "email_long"} what is wrong, as a key of the catalogue
 */
export function addressMistake(typed) {
  const at = typed.lastIndexOf("@");
  if (at < 0) return "email_at";
  const domain = typed.slice(at + 1);
  if (
    at === 0 ||
    /[\s,;<>()"@]/u.test(typed.slice(0, at)) ||
    !/^[^\s@.,;]+(\.[^\s@.,;]+)+$/u.test(domain) ||
    domain.includes("..")
  )
    return "email_incomplete";
  return typed.length > CHARACTERS_MAX ? "email_long" : "";
}

/** The address that was probably meant, or "". @param {string} typed */
export function likelyAddress(typed) {
  const at = typed.lastIndexOf("@") + 1;
  const domain = typed.slice(at).toLowerCase();
  if (at === 0 || WELL_KNOWN.includes(domain)) return "";
  const near = WELL_KNOWN.find(
    (known) => Math.abs(known.length - domain.length) < 2 && known.length > 7 && isOneSlipAway(domain, known),
  );
  return near ? typed.slice(0, at) + near : "";
}

/** One letter too many, missing, other, or two neighbours exchanged. @param {string} typed @param {string} meant */
function isOneSlipAway(typed, meant) {
  let at = 0;
  while (at < typed.length && typed[at] === meant[at]) at += 1;
  const rest = (/** @type {string} */ text, /** @type {number} */ skip) => text.slice(at + skip);
  return (
    rest(typed, 1) === rest(meant, 1) ||
    rest(typed, 1) === rest(meant, 0) ||
    rest(typed, 0) === rest(meant, 1) ||
    (typed[at] === meant[at + 1] && typed[at + 1] === meant[at] && rest(typed, 2) === rest(meant, 2))
  );
}
