// @ts-check
/**
 * The one line of a row: what was said last, and by whom.
 *
 * Promises: says more urgent things first. Somebody who writes right now beats a draft, and a draft beats the last
 * message.
 */

/**
 * @param {import("../state.js").Row} row
 * @param {object} facts
 * @param {string} facts.me the id of the staff who reads
 * @param {string} [facts.draft] what was begun and not sent
 * @param {{kind: string, id: string, name?: string} | null} [facts.typing] who is writing now
 * @returns {{kind: "typing" | "draft" | "message", who: "you" | "colleague" | "customer" | "system", name: string,
 *   text: string}}
 */
export function previewOf(row, { me, draft = "", typing = null }) {
  if (typing && typing.id !== me) {
    return {
      kind: "typing",
      who: typing.kind === "staff" ? "colleague" : "customer",
      name: typing.name ?? "",
      text: "",
    };
  }
  if (draft.trim()) return { kind: "draft", who: "you", name: "", text: oneLine(draft) };
  const author = row.last?.author ?? { kind: "customer", id: row.customer.id, name: "" };
  const who = author.kind === "staff" ? (author.id === me ? "you" : "colleague") : author.kind;
  return { kind: "message", who, name: author.name ?? "", text: oneLine(row.last?.text ?? "") };
}

/** @param {string} text */
const oneLine = (text) => text.slice(0, 300).replace(/\s+/gu, " ").trim();
