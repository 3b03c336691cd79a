// @ts-check
/**
 * The names, limits and codes of the protocol (docs/protocol.md) and the shapes of its frames.
 * Made by `python -m chatd.wire.generate` from the structs of chatd/domain; do not edit.
 */

export const VERSION = 1;
export const SUBPROTOCOLS = Object.freeze(["chatd.v1.json", "chatd.v1.msgpack"]);

/** The commands that a client may send, and whose they are. */
export const COMMANDS = Object.freeze({
  send_message: { customer: true, staff: true },
  mark_seen: { customer: true, staff: true },
  mark_delivered: { customer: true, staff: false },
  introduce: { customer: true, staff: false },
  update_cart: { customer: true, staff: false },
  close_conversations: { customer: false, staff: true },
  open_conversations: { customer: false, staff: true },
  add_topic: { customer: false, staff: true },
  remove_topic: { customer: false, staff: true },
});

/** The queries that a client may send, and whose they are. */
export const QUERIES = Object.freeze({
  load_history: { customer: true, staff: true },
  load_conversation: { customer: false, staff: true },
  list_conversations: { customer: false, staff: true },
  count_topics: { customer: false, staff: true },
});

/** The signals that a client may send, and whose they are. */
export const SIGNALS = Object.freeze({
  set_typing: { customer: true, staff: true },
  set_active: { customer: true, staff: false },
});

/**
 * What happens; public events reach the customer too, those in the thread come back with the history.
 * (`cart_changed` stands in the thread only when it has changes to tell.)
 */
export const EVENTS = Object.freeze({
  conversation_started: { public: true, in_thread: false },
  message_sent: { public: true, in_thread: true },
  messages_delivered: { public: true, in_thread: false },
  messages_seen: { public: true, in_thread: false },
  conversation_read: { public: false, in_thread: false },
  conversation_closed: { public: true, in_thread: true },
  conversation_opened: { public: true, in_thread: true },
  customer_introduced: { public: true, in_thread: true },
  customer_came: { public: false, in_thread: true },
  customer_left: { public: false, in_thread: true },
  cart_changed: { public: false, in_thread: true },
  mail_queued: { public: false, in_thread: false },
  mail_sent: { public: false, in_thread: false },
  mail_failed: { public: false, in_thread: false },
  mail_withdrawn: { public: false, in_thread: false },
  topics_found: { public: false, in_thread: false },
  topic_added: { public: false, in_thread: true },
  topic_removed: { public: false, in_thread: true },
});

/** What a conversation may be about. */
export const TOPICS = Object.freeze([
  "Checkout",
  "Edit orders",
  "Order status",
  "Pricing/Discounts",
  "Product details",
  "Product interest",
  "Returns/Delivered orders",
  "Shipping",
  "Store info",
  "Wholesale",
]);

/** The limits as they are unless an operator changes them; a welcome brings those that hold. */
export const LIMITS = Object.freeze({
  message_characters_max: 4000,
  message_parts_max: 10,
  name_characters_max: 120,
  email_characters_max: 254,
  cart_lines_max: 100,
  cart_title_characters_max: 300,
  url_characters_max: 2000,
  history_page_max: 50,
  list_page_max: 50,
  bulk_conversations_max: 200,
  frame_bytes_max: 65536,
  commands_per_window_max: 20,
  command_window_seconds: 10,
  resume_events_max: 1000,
  heartbeat_seconds: 25,
});

/** Why a command or query is refused; a temporary refusal may be sent again as it is. */
export const ERRORS = Object.freeze({
  invalid_input: { temporary: false },
  not_authenticated: { temporary: false },
  not_permitted: { temporary: false },
  not_found: { temporary: false },
  conflict: { temporary: false },
  too_fast: { temporary: true },
  temporary: { temporary: true },
  malformed_frame: { temporary: false },
  too_large: { temporary: false },
  unknown_cursor: { temporary: false },
  store_unavailable: { temporary: true },
  draining: { temporary: true },
});

/** Why a socket is closed: 4000 to 4499 mean come back, 4500 to 4999 mean do not. */
export const CLOSE_CODES = Object.freeze({
  normal: 1000,
  going_away: 1001,
  protocol_error: 1002,
  unsupported_data: 1003,
  invalid_text: 1007,
  frame_too_large: 1009,
  internal_error: 1011,
  draining: 4000,
  slow_consumer: 4001,
  silent: 4002,
  hello_timeout: 4003,
  try_later: 4004,
  malformed: 4500,
  unsupported_version: 4501,
  not_authenticated: 4502,
  session_ended: 4503,
  flooding: 4504,
});

/**
 * @typedef {object} Resume
 * @property {string} epoch
 * @property {number} number
 */

/**
 * The page of the shop that a customer is looking at, as it says itself.
 * @typedef {object} Page
 * @property {string} [url]
 * @property {string} [title]
 */

/**
 * The first frame: who this is and where to go on. See docs/protocol.md section 2.
 * @typedef {object} Hello
 * @property {"hello"} type
 * @property {number} version
 * @property {string | null} [token]
 * @property {string | null} [identity]
 * @property {string | null} [ticket]
 * @property {"bubble" | "page"} [channel]
 * @property {boolean} [active]
 * @property {Resume | null} [resume]
 * @property {string} [locale]
 * @property {Page | null} [page]
 */

/**
 * @typedef {object} TextPart
 * @property {"text"} type
 * @property {string} text
 */

/**
 * Say something. A customer may leave out the conversation: their conversation with the shop is meant, and the
 * first message makes it. Staff must name one.
 * @typedef {object} SendMessage
 * @property {"send_message"} type
 * @property {string} id
 * @property {TextPart[]} parts
 * @property {string | null} [conversation]
 */

/**
 * Everything up to this position has been on a screen that somebody looked at. Never moves backwards.
 * @typedef {object} MarkSeen
 * @property {"mark_seen"} type
 * @property {string} id
 * @property {string} conversation
 * @property {number} position
 */

/**
 * Everything up to this position has reached the customer's browser. Never moves backwards.
 * @typedef {object} MarkDelivered
 * @property {"mark_delivered"} type
 * @property {string} id
 * @property {string} conversation
 * @property {number} position
 */

/**
 * The customer says who they are. A typed address is where replies go; it proves nothing and opens nothing.
 * A field that is left out stays as it was; an empty one clears it.
 * @typedef {object} Introduce
 * @property {"introduce"} type
 * @property {string} id
 * @property {string | null} [name]
 * @property {string | null} [email]
 */

/**
 * @typedef {object} CartLine
 * @property {string} id
 * @property {string} title
 * @property {number} quantity
 * @property {number} price
 * @property {string | null} [url]
 * @property {string | null} [picture]
 */

/**
 * @typedef {object} Cart
 * @property {string} currency
 * @property {number} subtotal
 * @property {CartLine[]} lines
 */

/**
 * The whole cart as it is now. chatd compares it with the last one and tells the difference, so that sending the
 * same cart twice, or from two tabs, changes nothing.
 * @typedef {object} UpdateCart
 * @property {"update_cart"} type
 * @property {string} id
 * @property {Cart} cart
 */

/**
 * @typedef {object} CloseConversations
 * @property {"close_conversations"} type
 * @property {string} id
 * @property {string[]} conversations
 */

/**
 * @typedef {object} OpenConversations
 * @property {"open_conversations"} type
 * @property {string} id
 * @property {string[]} conversations
 */

/**
 * The conversation is about this. What staff add is kept, whatever the classifier finds later.
 * @typedef {object} AddTopic
 * @property {"add_topic"} type
 * @property {string} id
 * @property {string} conversation
 * @property {"Checkout" | "Edit orders" | "Order status" | "Pricing/Discounts" | "Product details" | "Product interest" | "Returns/Delivered orders" | "Shipping" | "Store info" | "Wholesale"} topic
 */

/**
 * The conversation is not about this. The classifier does not bring it back.
 * @typedef {object} RemoveTopic
 * @property {"remove_topic"} type
 * @property {string} id
 * @property {string} conversation
 * @property {"Checkout" | "Edit orders" | "Order status" | "Pricing/Discounts" | "Product details" | "Product interest" | "Returns/Delivered orders" | "Shipping" | "Store info" | "Wholesale"} topic
 */

/**
 * A page of the thread, oldest first, that ends just before `before` (a number of the asker's own stream).
 * @typedef {object} LoadHistory
 * @property {"load_history"} type
 * @property {string} id
 * @property {string} conversation
 * @property {number | null} [before]
 * @property {number} [limit]
 */

/**
 * Staff: the row, the customer, the cart and the newest page of the thread.
 * @typedef {object} LoadConversation
 * @property {"load_conversation"} type
 * @property {string} id
 * @property {string} conversation
 */

/**
 * Staff: rows, newest first. `before` is the cursor of the page before.
 * @typedef {object} ListConversations
 * @property {"list_conversations"} type
 * @property {string} id
 * @property {"closed" | "open" | null} [state]
 * @property {boolean} [unread]
 * @property {"Checkout" | "Edit orders" | "Order status" | "Pricing/Discounts" | "Product details" | "Product interest" | "Returns/Delivered orders" | "Shipping" | "Store info" | "Wholesale" | null} [topic]
 * @property {string | null} [before]
 * @property {number} [limit]
 */

/**
 * Staff: of how many conversations each topic is one, among those that `list_conversations` would list.
 * @typedef {object} CountTopics
 * @property {"count_topics"} type
 * @property {string} id
 * @property {"closed" | "open" | null} [state]
 * @property {boolean} [unread]
 */

/**
 * Shown to the other side for at most eight seconds; repeat while it lasts.
 * @typedef {object} SetTyping
 * @property {"set_typing"} type
 * @property {string} conversation
 * @property {boolean} on
 */

/**
 * Whether the page is in front of the customer's eyes, and which page it is.
 * @typedef {object} SetActive
 * @property {"set_active"} type
 * @property {boolean} active
 * @property {string | null} [url]
 * @property {string | null} [title]
 */

/**
 * What is known of a customer. An empty string means unknown. `verified` is about who they are, not their mail.
 * @typedef {object} CustomerCard
 * @property {string} id
 * @property {"member" | "visitor"} kind
 * @property {string} name
 * @property {string} email
 * @property {boolean} verified
 */

/**
 * @typedef {object} ConversationStarted
 * @property {"conversation_started"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {"order" | "shop"} kind
 * @property {CustomerCard} person
 */

/**
 * Who said or did it, as everybody may know it.
 * @typedef {object} Author
 * @property {"customer" | "staff" | "system"} kind
 * @property {string} id
 * @property {string} name
 */

/**
 * One utterance. `position` counts the messages of the conversation from 1 without a hole, the same for both
 * sides. `incoming` counts those of the customer; unread is a difference of two such counts.
 * @typedef {object} Message
 * @property {string} id
 * @property {string} client_id
 * @property {number} position
 * @property {number} incoming
 * @property {Author} author
 * @property {"chat" | "email"} channel
 * @property {TextPart[]} parts
 */

/**
 * Said by staff, it also says that the shop has seen everything up to it: a reply needs no `messages_seen`.
 * @typedef {object} MessageSent
 * @property {"message_sent"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {Message} message
 */

/**
 * @typedef {object} MessagesDelivered
 * @property {"messages_delivered"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {number} position
 */

/**
 * @typedef {object} MessagesSeen
 * @property {"messages_seen"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {"customer" | "shop"} by
 * @property {number} position
 */

/**
 * One member of staff has read on. `count` is how many messages stopped being unread for them.
 * @typedef {object} ConversationRead
 * @property {"conversation_read"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {string} staff
 * @property {number} incoming_seen
 * @property {number} count
 */

/**
 * @typedef {object} ConversationClosed
 * @property {"conversation_closed"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {Author} by
 */

/**
 * @typedef {object} ConversationOpened
 * @property {"conversation_opened"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {Author} by
 */

/**
 * @typedef {object} CustomerIntroduced
 * @property {"customer_introduced"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {CustomerCard} person
 */

/**
 * @typedef {object} CustomerCame
 * @property {"customer_came"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 */

/**
 * @typedef {object} CustomerLeft
 * @property {"customer_left"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 */

/**
 * One line of a difference. `title` is null when the name has 41 characters or more (feature C1).
 * @typedef {object} CartChange
 * @property {"added" | "quantity" | "removed"} kind
 * @property {string | null} title
 * @property {number} quantity
 * @property {number} was
 */

/**
 * The cart as it is now, and what differs from before. The first cart that is known has no changes to tell.
 * @typedef {object} CartChanged
 * @property {"cart_changed"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {Cart} cart
 * @property {CartChange[]} changes
 */

/**
 * The messages from `first` to `last` wait for the mail to this address.
 * @typedef {object} MailQueued
 * @property {"mail_queued"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {string} mail
 * @property {number} first
 * @property {number} last
 * @property {string} email
 */

/**
 * @typedef {object} MailSent
 * @property {"mail_sent"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {string} mail
 * @property {number} first
 * @property {number} last
 * @property {string} email
 */

/**
 * `final`: given up. Otherwise chatd will try again by itself.
 * @typedef {object} MailFailed
 * @property {"mail_failed"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {string} mail
 * @property {number} first
 * @property {number} last
 * @property {string} email
 * @property {string} reason
 * @property {boolean} final
 */

/**
 * Seen before it was due, so no mail went out.
 * @typedef {object} MailWithdrawn
 * @property {"mail_withdrawn"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {string} mail
 * @property {number} first
 * @property {number} last
 */

/**
 * A topic of one message. `score` is how sure the classifier is, from 0 to 1.
 * @typedef {object} TopicFinding
 * @property {string} topic
 * @property {number} score
 */

/**
 * A topic of a conversation. Either the classifier has found it in the message at `position` and `score` says how
 * sure it is, or staff have added it: then `by` says who, and `position` how much had been said by then.
 * @typedef {object} Topic
 * @property {string} topic
 * @property {number} position
 * @property {number | null} score
 * @property {Author | null} by
 */

/**
 * The classifier has found something in the customer's message at `position`. `topics` are those of the
 * conversation from now on, most recent first.
 * @typedef {object} TopicsFound
 * @property {"topics_found"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {number} position
 * @property {TopicFinding[]} found
 * @property {Topic[]} topics
 */

/**
 * Staff have added a topic, after the message at `position`.
 * @typedef {object} TopicAdded
 * @property {"topic_added"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {string} topic
 * @property {Author} by
 * @property {number} position
 * @property {Topic[]} topics
 */

/**
 * Staff have removed a topic, which had stood there since the message at `position`.
 * @typedef {object} TopicRemoved
 * @property {"topic_removed"} type
 * @property {number} at
 * @property {string} customer
 * @property {string | null} conversation
 * @property {string} topic
 * @property {Author} by
 * @property {number} position
 * @property {Topic[]} topics
 */

/** @typedef {SendMessage | MarkSeen | MarkDelivered | Introduce | UpdateCart} CustomerCommand */

/** @typedef {SendMessage | MarkSeen | CloseConversations | OpenConversations | AddTopic | RemoveTopic} StaffCommand */

/** @typedef {LoadHistory} CustomerQuery */

/** @typedef {LoadHistory | LoadConversation | ListConversations | CountTopics} StaffQuery */

/** @typedef {SetTyping | SetActive} CustomerSignal */

/** @typedef {SetTyping} StaffSignal */

/**
 * @typedef {ConversationStarted | MessageSent | MessagesDelivered | MessagesSeen | ConversationRead
 *   | ConversationClosed | ConversationOpened | CustomerIntroduced | CustomerCame | CustomerLeft | CartChanged
 *   | MailQueued | MailSent | MailFailed | MailWithdrawn | TopicsFound | TopicAdded | TopicRemoved} AnyEvent
 */
