"""The one door through which anything changes: load, decide, commit, publish.

door            takes a command, answers when it is committed, and rings the bus
work            what a handler works with: the transaction, the time, and the log
conversations   messages, marks, opening and closing
people          introductions, carts, coming and going
mails           what became of a mail
topics          what a conversation is about
queries         what may be asked
forwarding      the door where several processes share a SQLite file: one writes for all
leader, line    its side of the line to the others, and theirs; line_frames is what they say
"""

from chatd.dispatch.door import Dispatch
from chatd.dispatch.work import Circumstances

__all__ = ["Circumstances", "Dispatch"]
