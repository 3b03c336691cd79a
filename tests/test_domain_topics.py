"""The rules of topics: at most two, the most recent first, and what staff have said is never overwritten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.domain.commands import TOPICS
from chatd.domain.conversations import Conversation
from chatd.domain.events import Event, Topic, TopicAdded, TopicFinding, TopicRemoved, TopicsFound
from chatd.domain.people import Actor
from chatd.domain.topics import TOPICS_MAX, Topics, decide_found, decide_topic_added, decide_topic_removed
from chatd.errors import NotPermitted

CONVERSATION = Conversation(id="k", customer="v", kind="shop", state="open", position=7)
LEO = Actor(kind="staff", shop="s", id="leo", name="Leo", permissions=frozenset({"chat"}))
KIM = Actor(kind="staff", shop="s", id="kim", name="Kim")


def found(topics: Topics, *names: str, position: int = 7, score: float = 0.97) -> list[Event]:
    findings = [TopicFinding(topic=name, score=score) for name in names]
    return decide_found(CONVERSATION, topics, position=position, found=findings, now=1)


def after(topics: Topics, events: list[Event]) -> Topics:
    """How things stand after these events, as the store keeps it."""
    for event in events:
        assert isinstance(event, TopicsFound | TopicAdded | TopicRemoved)
        removed = topics.removed
        if isinstance(event, TopicAdded):
            removed -= {event.topic}
        elif isinstance(event, TopicRemoved):
            removed |= {event.topic}
        topics = Topics(shown=tuple(event.topics), removed=removed)
    return topics


def find(topics: Topics, *names: str) -> Topics:
    return after(topics, found(topics, *names))


def add(topics: Topics, name: str) -> Topics:
    return after(topics, decide_topic_added(CONVERSATION, topics, LEO, name, now=1))


def remove(topics: Topics, name: str) -> Topics:
    return after(topics, decide_topic_removed(CONVERSATION, topics, LEO, name, now=1))


ACTS: dict[str, Callable[[Topics, str], Topics]] = {"find": find, "add": add, "remove": remove}


def shown(topics: Topics) -> list[str]:
    return [one.topic for one in topics.shown]


def test_what_was_found_stands_there_with_its_score_and_message() -> None:
    (event,) = found(Topics(), "Shipping", position=3, score=0.9731)
    assert isinstance(event, TopicsFound)
    assert event.topics == [Topic(topic="Shipping", position=3, score=0.9731)]
    assert (event.position, event.found) == (3, [TopicFinding(topic="Shipping", score=0.9731)])
    assert not event.public and not event.stands_in_thread


def test_the_two_most_recent_are_shown_most_recent_first() -> None:
    topics = find(find(find(Topics(), "Checkout"), "Shipping"), "Store info")
    assert shown(topics) == ["Store info", "Shipping"]
    assert shown(find(topics, "Shipping")) == ["Shipping", "Store info"], "talked about again"


def test_of_one_message_the_surest_comes_first() -> None:
    assert shown(find(find(Topics(), "Wholesale"), "Shipping", "Checkout")) == ["Shipping", "Checkout"]
    assert shown(find(Topics(), "Shipping", "Checkout", "Wholesale")) == ["Shipping", "Checkout"]


def test_nothing_is_told_when_nothing_changes() -> None:
    topics = find(Topics(), "Shipping")
    assert found(topics, "Shipping") == []
    assert found(topics) == []


def test_what_staff_have_added_is_never_pushed_out_by_a_finding() -> None:
    topics = find(find(find(add(Topics(), "Wholesale"), "Shipping"), "Checkout"), "Store info")
    assert shown(topics) == ["Store info", "Wholesale"]
    assert topics.shown[1].by == LEO.author and topics.shown[1].score is None
    both = add(topics, "Checkout")
    assert shown(both) == ["Checkout", "Wholesale"], "the classifier's one goes first"
    assert found(both, "Shipping") == []
    assert shown(find(both, "Wholesale")) == ["Wholesale", "Checkout"]
    assert find(both, "Wholesale").shown[0].by == LEO.author, "found again, and still the person's word"


def test_a_third_that_staff_add_pushes_out_their_oldest() -> None:
    assert shown(add(add(add(Topics(), "Checkout"), "Shipping"), "Store info")) == ["Store info", "Shipping"]


def test_what_staff_have_removed_does_not_come_back_by_itself() -> None:
    topics = remove(find(Topics(), "Shipping", "Checkout"), "Shipping")
    assert shown(topics) == ["Checkout"]
    assert found(topics, "Shipping") == []
    assert shown(find(topics, "Shipping", "Store info")) == ["Store info", "Checkout"]
    assert shown(add(topics, "Shipping")) == ["Shipping", "Checkout"], "but staff may bring it back"
    assert shown(find(remove(add(topics, "Shipping"), "Checkout"), "Checkout")) == ["Shipping"]


def test_adding_what_was_found_confirms_it() -> None:
    topics = find(Topics(), "Shipping")
    confirmed = add(topics, "Shipping")
    assert confirmed.shown == (Topic(topic="Shipping", position=7, by=LEO.author),)
    assert decide_topic_added(CONVERSATION, confirmed, LEO, "Shipping", now=2) == [], "once is enough"


def test_a_removal_tells_which_message_was_misread() -> None:
    topics = after(Topics(), found(Topics(), "Shipping", position=3))
    (event,) = decide_topic_removed(CONVERSATION, topics, LEO, "Shipping", now=1)
    assert isinstance(event, TopicRemoved)
    assert (event.position, event.topics, event.by) == (3, [], LEO.author)
    assert event.stands_in_thread and not event.public
    assert decide_topic_removed(CONVERSATION, Topics(), LEO, "Shipping", now=1) == [], "a colleague was faster"


def test_it_takes_the_permission_to_chat() -> None:
    for decide in (decide_topic_added, decide_topic_removed):
        with pytest.raises(NotPermitted):
            decide(CONVERSATION, find(Topics(), "Shipping"), KIM, "Shipping", now=1)


@given(st.lists(st.tuples(st.sampled_from(["find", "add", "remove"]), st.sampled_from(TOPICS)), max_size=30))
def test_whatever_happens_there_are_two_at_most_and_staff_have_the_last_word(acts: list[tuple[str, str]]) -> None:
    topics = Topics()
    removed: set[str] = set()
    added: list[str] = []
    for act, name in acts:
        topics = ACTS[act](topics, name)
        if act == "add":
            added = [one for one in added if one != name] + [name]
            removed.discard(name)
        elif act == "remove" and name not in shown(topics):
            added = [one for one in added if one != name]
            removed |= topics.removed & {name}
        names = shown(topics)
        assert len(set(names)) == len(names) <= TOPICS_MAX
        assert not removed & set(names)
        assert [one.topic for one in topics.shown if one.by is not None] == sorted(
            set(added) & set(names), key=names.index
        )
        assert set(added[-1:]) <= set(names), "what staff have added last is there"
