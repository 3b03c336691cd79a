// @ts-check
/**
 * A shop as the protocol defines it, for tests: a log of events, and snapshots that are read off the log by definition
 * ("the last message", "how many", "the greatest") instead of being carried along. What `state.js` carries along has to
 * agree with it.
 */

const PUBLIC = new Set([
  "conversation_started",
  "message_sent",
  "messages_delivered",
  "messages_seen",
  "conversation_closed",
  "conversation_opened",
  "customer_introduced",
]);
const IN_THREAD = new Set([
  "message_sent",
  "conversation_closed",
  "conversation_opened",
  "customer_introduced",
  "customer_came",
  "customer_left",
  "topic_added",
  "topic_removed",
]);
const PAGE = 4; // small, so that everything has a second page

const inThread = (event) => IN_THREAD.has(event.type) || (event.type === "cart_changed" && event.changes.length > 0);
const greatest = (numbers) => numbers.reduce((a, b) => Math.max(a, b), 0);

const previewOf = ({ message }) => {
  const text = message.parts.map((part) => part.text).join(" ");
  return [...text.trim().replace(/\s+/g, " ")].slice(0, 140).join("");
};

export class ShopModel {
  /** The shop's stream; the event with number n stands at n - 1. */
  log = [];
  staff = [
    { id: "s1", name: "Leo", email: "leo@shop.example", role: "owner", permissions: ["chat"] },
    { id: "s2", name: "Ada", email: "ada@shop.example", role: "agent", permissions: ["chat"] },
  ];
  customers = ["a", "b", "c", "d", "e", "f"].map((id) => ({
    id: `v-${id}`,
    kind: "visitor",
    name: "",
    email: "",
    verified: false,
  }));
  #mails = 0;

  constructor(random) {
    this.random = random;
  }

  get number() {
    return this.log.length;
  }

  // ------------------------------------------------ things happen

  /** One thing that somebody does, and all events that follow from it. */
  happen() {
    const customer = this.random.pick(this.customers);
    const conversation = `k-${customer.id}`;
    const started = this.#of(conversation, this.number).length > 0;
    const does = this.random.weighted(
      started
        ? {
            customer_writes: 8,
            staff_writes: 8,
            staff_reads: 5,
            customer_reads: 3,
            delivered: 3,
            close: 2,
            introduce: 2,
            presence: 2,
            cart: 3,
            mail: 4,
            topics: 3,
          }
        : { customer_writes: 1 },
    );
    this[`_${does}`](customer, conversation);
  }

  #add(type, customer, conversation, fields = {}) {
    this.log.push({ type, at: 1000 * (this.number + 1), customer: customer.id, conversation, ...fields });
  }

  #message(customer, conversation, author) {
    const row = this.row(conversation, this.staff[0].id, this.number);
    const id = `m-${this.number}`;
    this.#add("message_sent", customer, conversation, {
      message: {
        id,
        client_id: `client-${id}`,
        position: row.position + 1,
        incoming: row.incoming + (author.kind === "customer" ? 1 : 0),
        author,
        channel: "chat",
        parts: [
          {
            type: "text",
            text: this.random.pick(["Hi", "  two\n lines ", "x".repeat(200), "你好\u00a0世界", "😀".repeat(150)]),
          },
        ],
      },
    });
  }

  _customer_writes(customer, conversation) {
    const row = this.row(conversation, this.staff[0].id, this.number);
    if (!row) this.#add("conversation_started", customer, conversation, { kind: "shop", person: { ...customer } });
    const author = { kind: "customer", id: customer.id, ...(customer.name && { name: customer.name }) };
    if (row?.state === "closed") this.#add("conversation_opened", customer, conversation, { by: author });
    this.#message(customer, conversation, author);
  }

  _staff_writes(customer, conversation) {
    const staff = this.#read(customer, conversation);
    this.#message(customer, conversation, { kind: "staff", id: staff.id, name: staff.name });
  }

  _staff_reads(customer, conversation) {
    this.#read(customer, conversation);
    const row = this.row(conversation, this.staff[0].id, this.number);
    if (row.position > row.seen_by_shop)
      this.#add("messages_seen", customer, conversation, { by: "shop", position: row.position });
  }

  #read(customer, conversation) {
    const staff = this.random.pick(this.staff);
    const row = this.row(conversation, staff.id, this.number);
    if (row.unread) {
      this.#add("conversation_read", customer, conversation, {
        staff: staff.id,
        incoming_seen: row.incoming,
        count: row.unread,
      });
    }
    return staff;
  }

  _customer_reads(customer, conversation) {
    const { position, seen_by_customer } = this.row(conversation, "s1", this.number);
    if (position > seen_by_customer) {
      this.#add("messages_seen", customer, conversation, {
        by: "customer",
        position: this.random.between(seen_by_customer + 1, position),
      });
    }
  }

  _delivered(customer, conversation) {
    const { position, delivered } = this.row(conversation, "s1", this.number);
    if (position > delivered) {
      this.#add("messages_delivered", customer, conversation, {
        position: this.random.between(delivered + 1, position),
      });
    }
  }

  _close(customer, conversation) {
    const type =
      this.row(conversation, "s1", this.number).state === "open" ? "conversation_closed" : "conversation_opened";
    this.#add(type, customer, conversation, { by: { kind: "staff", id: "s1", name: "Leo" } });
  }

  _introduce(customer, conversation) {
    customer.name = `Mia ${this.number}`;
    customer.email = `mia${this.number}@example.com`;
    this.#add("customer_introduced", customer, conversation, { person: { ...customer } });
  }

  _presence(customer, conversation) {
    this.#add(this.random.pick(["customer_came", "customer_left"]), customer, conversation);
  }

  _cart(customer, conversation) {
    const changes = this.random.chance(0.3) ? [] : [{ kind: "added", title: null, quantity: 1, was: 0 }];
    this.#add("cart_changed", customer, conversation, {
      cart: { currency: "EUR", subtotal: this.number, lines: [] },
      changes,
    });
  }

  _mail(customer, conversation) {
    const known = this.mails(conversation, this.number).filter((mail) => ["queued", "retrying"].includes(mail.state));
    if (!known.length || this.random.chance(0.4)) {
      const { position } = this.row(conversation, "s1", this.number);
      const mail = `mail-${++this.#mails}`;
      return this.#add("mail_queued", customer, conversation, {
        mail,
        first: position,
        last: position,
        email: "mia@example.com",
      });
    }
    const { mail, first, last, email } = this.random.pick(known);
    const type = this.random.pick(["mail_sent", "mail_failed", "mail_withdrawn"]);
    if (type === "mail_withdrawn") return this.#add(type, customer, conversation, { mail, first, last });
    const failed = type === "mail_failed" && { reason: "550 no such user", final: this.random.chance(0.5) };
    this.#add(type, customer, conversation, { mail, first, last, email, ...failed });
  }

  _topics(customer, conversation) {
    const type = this.random.pick(["topics_found", "topic_added", "topic_removed"]);
    const topics = ["Shipping", "Checkout"].slice(this.random.between(0, 2)).map((topic) => ({ topic, by: null }));
    this.#add(type, customer, conversation, { topics });
  }

  // ------------------------------------------------ what is so, by definition

  #of(conversation, number) {
    return this.log
      .slice(0, number)
      .map((event, index) => ({ number: index + 1, event }))
      .filter(({ event }) => event.conversation === conversation);
  }

  /** The row as this member of staff has it after `number`, or undefined. */
  row(conversation, staff, number) {
    const all = this.#of(conversation, number);
    if (!all.length) return undefined;
    const of = (...types) => all.filter(({ event }) => types.includes(event.type));
    const [begin] = of("conversation_started");
    const messages = of("message_sent");
    const last = messages.at(-1);
    const seen = (by) =>
      greatest(
        of("messages_seen")
          .filter(({ event }) => event.by === by)
          .map(({ event }) => event.position),
      );
    const replies = messages.filter(({ event }) => event.message.author.kind === "staff");
    const incoming = messages.filter(({ event }) => event.message.author.kind === "customer").length;
    const incoming_seen = greatest(
      of("conversation_read")
        .filter(({ event }) => event.staff === staff)
        .map(({ event }) => event.incoming_seen),
    );
    return {
      id: conversation,
      kind: begin.event.kind,
      state:
        of("conversation_closed", "conversation_opened").at(-1)?.event.type === "conversation_closed"
          ? "closed"
          : "open",
      customer: of("conversation_started", "customer_introduced").at(-1)?.event.person,
      last: last
        ? { number: last.number, at: last.event.at, author: last.event.message.author, text: previewOf(last.event) }
        : { number: begin.number, at: begin.event.at, author: {}, text: "" },
      position: messages.length,
      incoming,
      incoming_seen,
      unread: incoming - incoming_seen,
      replied: last?.event.message.author.kind === "staff",
      seen_by_shop: Math.max(seen("shop"), greatest(replies.map(({ event }) => event.message.position))),
      seen_by_customer: seen("customer"),
      delivered: Math.max(seen("customer"), greatest(of("messages_delivered").map(({ event }) => event.position))),
      started_at: begin.event.at,
      topics: of("topics_found", "topic_added", "topic_removed").at(-1)?.event.topics ?? [],
    };
  }

  mails(conversation, number) {
    const ids = [...new Set(this.#of(conversation, number).flatMap(({ event }) => (event.mail ? [event.mail] : [])))];
    return ids.map((mail) => {
      const events = this.#of(conversation, number)
        .map(({ event }) => event)
        .filter((event) => event.mail === mail);
      const { type, first, last, reason = null, final } = events.at(-1);
      const state =
        { mail_queued: "queued", mail_sent: "sent", mail_withdrawn: "withdrawn" }[type] ??
        (final ? "failed" : "retrying");
      return { mail, first, last, email: events[0].email, state, reason };
    });
  }

  cart(conversation, number) {
    const last = this.#of(conversation, number)
      .filter(({ event }) => event.type === "cart_changed")
      .at(-1)?.event;
    return last ? { cart: last.cart, at: last.at } : null;
  }

  thread(conversation, number) {
    return this.#of(conversation, number).filter(({ event }) => inThread(event));
  }

  rows(staff, number) {
    const ids = new Set(this.log.slice(0, number).map((event) => event.conversation));
    return [...ids].map((id) => this.row(id, staff, number)).sort((a, b) => b.last.number - a.last.number);
  }

  // ------------------------------------------------ what the server says

  staffWelcome(staff, number) {
    const rows = this.rows(staff, number);
    return {
      ...{
        type: "welcome",
        version: 1,
        epoch: "e1",
        number,
        resumed: false,
        you: { kind: "staff", id: staff },
        limits: {},
        online: [],
      },
      snapshot: {
        shop: { key: "KEY", name: "Shop" },
        staff: this.staff.find((one) => one.id === staff),
        colleagues: this.staff.filter((one) => one.id !== staff),
        conversations: rows.slice(0, PAGE),
        before: rows.length > PAGE ? "cursor" : null,
        unread: rows.reduce((sum, row) => sum + row.unread, 0),
      },
    };
  }

  loadConversation(conversation, staff, number) {
    const thread = this.thread(conversation, number);
    return {
      conversation: this.row(conversation, staff, number),
      thread: thread.slice(-PAGE),
      more: thread.length > PAGE,
      mails: this.mails(conversation, number),
      cart: this.cart(conversation, number),
    };
  }

  loadHistory(conversation, before, number) {
    const older = this.thread(conversation, number).filter((entry) => entry.number < before);
    return { thread: older.slice(-PAGE), more: older.length > PAGE, mails: this.mails(conversation, number) };
  }

  listConversations(staff, number, afterIds) {
    return {
      conversations: this.rows(staff, number)
        .filter((row) => !afterIds.has(row.id))
        .slice(0, PAGE),
      before: null,
    };
  }

  /** The stream that a customer follows: public events alone, with numbers of their own. */
  customerStream(customer, number) {
    return this.log
      .slice(0, number)
      .filter((event) => event.customer === customer && PUBLIC.has(event.type))
      .map((event, index) => ({ number: index + 1, event }));
  }

  customerWelcome(customer, number) {
    const stream = this.customerStream(customer, number);
    const conversations = [...new Set(stream.map(({ event }) => event.conversation))].map((id) => {
      const { kind, state, position, seen_by_shop, seen_by_customer, delivered } = this.row(id, "s1", number);
      const thread = stream.filter(({ event }) => event.conversation === id && inThread(event));
      const page = thread.slice(-PAGE);
      const unread = page.filter(
        ({ event }) =>
          event.type === "message_sent" &&
          event.message.author.kind !== "customer" &&
          event.message.position > seen_by_customer,
      ).length;
      return {
        id,
        kind,
        state,
        position,
        unread,
        seen_by_shop,
        seen_by_customer,
        delivered,
        thread: page,
        more: thread.length > PAGE,
      };
    });
    const card = stream.findLast(({ event }) => event.person)?.event.person;
    return {
      ...{
        type: "welcome",
        version: 1,
        epoch: "e1",
        number: stream.length,
        resumed: false,
        you: { kind: "visitor", id: customer },
        limits: {},
      },
      shop_online: true,
      snapshot: {
        shop: { key: "KEY", name: "Shop" },
        customer: card ?? { id: customer, kind: "visitor", name: "", email: "", verified: false },
        conversations,
      },
    };
  }
}
