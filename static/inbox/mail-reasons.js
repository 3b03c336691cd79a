// @ts-check
/**
 * Why a mail was not sent, in the reader's language.
 *
 * chatd tells it as an English sentence, with the mail server's own words in brackets. What matters of it to staff is one
 * of a few kinds: who has to do something, and what. The server's words are kept, because whoever has to act needs them.
 *
 * Promises: a sentence of a later chatd stands as it came.
 */

/**
 * The server's answer: its code, and the enhanced one (RFC 3463) where it gives one. The class (4 or 5) says whether it
 * is tried again, which stands before the reason already; subject and detail say what it is about.
 */
const ANSWER = /\((\d{3}(?: [245]\.(\d{1,3})\.(\d{1,3}))?\b.*)\)\.?$/u;

/** By subject and detail, else by subject. @type {Record<string, string>} */
const BY_STATUS = Object.freeze({
  "1.7": "sender",
  "1.8": "sender",
  1: "address",
  "2.1": "disabled",
  "2.2": "full",
  "2.3": "too_big",
  "3.4": "too_big",
  4: "unreachable",
  7: "policy",
});
/** What is refused for now by a rule, as greylisting does (RFC 6647), is only to come again. */
const FOR_NOW = "later";

/** By how chatd's own sentence begins. @type {readonly [string, string][]} */
const BY_WORDS = Object.freeze([
  ["Nothing can be delivered to this address", "address"],
  ["The customer's e-mail address is not one", "address"],
  ["The mail server does not take mail from the shop's address", "sender"],
  ["The shop's e-mail address is not one", "sender"],
  ["The mail server asks to try again later", "later"],
  ["The mail server is not available now", "unreachable"],
  ["The mail server could not check chatd's login now", "unreachable"],
  ["The mail server gave an answer that is none", "unreachable"],
  ["The mail server's name is not known", "unreachable"],
  ["The mail server did not answer in time", "unreachable"],
  ["The mail server cannot be reached", "unreachable"],
  ["The mail server broke off the connection", "unreachable"],
  ["The mail server was too slow", "unreachable"],
  ["The mail server refused chatd's login", "login"],
  ["The mail server offers no login", "login"],
  ["The mail server refused the mail", "refused"],
  ["The mail server offers no encryption", "insecure"],
  ["The mail server's certificate does not hold", "insecure"],
  ["The encryption with the mail server", "insecure"],
  ["No mail server is set", "no_server"],
  ["The shop has no e-mail address", "no_sender"],
  ["This address has had many mails today", "capped"],
  ["chatd could not write this mail", "broken"],
  ["The conversation of this mail is gone", "gone"],
]);

const GIVEN_UP = /^Given up after \d+ days\. /u;

/**
 * @param {string} reason as chatd tells it
 * @returns {{kind: string, said: string, givenUp: boolean}} `kind` is empty for one that is not known here
 */
export function reasonOf(reason) {
  const own = reason.replace(GIVEN_UP, "");
  const answer = ANSWER.exec(own);
  const [, said = "", subject = "", detail = ""] = answer ?? [];
  const rule = subject === "7" && said.startsWith("4") ? FOR_NOW : undefined;
  const kind =
    rule ??
    BY_STATUS[`${subject}.${detail}`] ??
    BY_STATUS[subject] ??
    BY_WORDS.find(([beginning]) => own.startsWith(beginning))?.[1] ??
    "";
  return { kind, said, givenUp: own !== reason };
}

/**
 * @param {string} reason
 * @param {(key: string, facts?: Record<string, any>) => string} t
 */
export function reasonWords(reason, t) {
  const { kind, said, givenUp } = reasonOf(reason);
  if (!kind) return reason;
  const words = t(`reason.${kind}`);
  const whole = said ? t("reason.said", { words, said }) : words;
  return givenUp ? t("reason.given_up", { words: whole }) : whole;
}
