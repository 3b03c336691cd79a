// @ts-check
/**
 * What became of a message that the shop sent.
 *
 * Promises: one word per message, the one that tells most. Seen beats everything, because then no mail matters any
 * more; a mail that failed for good beats what is less certain.
 */

/**
 * @typedef {{mail: string, first: number, last: number, email?: string, state: string, reason?: string | null}} Mail
 * @typedef {{mark: string, email?: string, reason?: string}} Mark
 */

/**
 * Which state of a mail tells more, when a message was in several: a later digest may hold what an earlier one failed
 * to bring.
 */
const TELLING = ["withdrawn", "failed", "retrying", "queued", "sent"];

/** @param {number} position @param {readonly Mail[]} mails @returns {Mail | null} */
function mailOf(position, mails) {
  let found = null;
  for (const mail of mails) {
    if (mail.first > position || mail.last < position || mail.state === "withdrawn") continue;
    if (found === null || TELLING.indexOf(mail.state) >= TELLING.indexOf(found.state)) found = mail;
  }
  return found;
}

/**
 * @param {number} position of a message of the shop's
 * @param {{seen_by_customer: number, delivered: number}} row
 * @param {readonly Mail[]} mails
 * @returns {Mark}
 */
export function markOf(position, row, mails) {
  if (position <= row.seen_by_customer) return { mark: "seen" };
  const mail = mailOf(position, mails);
  if (mail) return { mark: `mail_${mail.state}`, email: mail.email ?? "", reason: mail.reason ?? "" };
  return { mark: position <= row.delivered ? "delivered" : "sent" };
}

/** The icon of each mark. */
export const MARK_ICONS = Object.freeze({
  sending: "clock",
  unsent: "clock",
  failed: "alert",
  sent: "check",
  delivered: "checks",
  seen: "checks",
  mail_queued: "mail-clock",
  mail_retrying: "mail-clock",
  mail_sent: "mail-check",
  mail_failed: "mail-failed",
});
