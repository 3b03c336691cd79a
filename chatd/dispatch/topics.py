"""What a conversation is about: what the classifier found, what staff add and remove. The rules: `domain.topics`."""

from __future__ import annotations

from typing import Any

from chatd.dispatch.conversations import load_conversation
from chatd.dispatch.work import Work
from chatd.domain.commands import AddTopic, RecordTopics, RemoveTopic
from chatd.domain.events import TopicFinding
from chatd.domain.people import Actor
from chatd.domain.topics import decide_found, decide_topic_added, decide_topic_removed
from chatd.store.conversations import find_conversation
from chatd.store.topics import find_topics, move_mark


async def add_topic(work: Work, actor: Actor, command: AddTopic) -> dict[str, Any]:
    conversation = await load_conversation(work, actor, command.conversation)
    topics = await find_topics(work.tx, work.shop, conversation.id)
    await work.record(decide_topic_added(conversation, topics, actor, command.topic, now=work.now))
    return await _shown(work, conversation.id)


async def remove_topic(work: Work, actor: Actor, command: RemoveTopic) -> dict[str, Any]:
    conversation = await load_conversation(work, actor, command.conversation)
    topics = await find_topics(work.tx, work.shop, conversation.id)
    await work.record(decide_topic_removed(conversation, topics, actor, command.topic, now=work.now))
    return await _shown(work, conversation.id)


async def _shown(work: Work, conversation: str) -> dict[str, Any]:
    return {"topics": (await find_topics(work.tx, work.shop, conversation)).shown}


async def record_topics(work: Work, fact: RecordTopics) -> bool:
    """What was found in a stretch of the log, and that it was read, at once. A stretch that another process has
    recorded meanwhile is left alone, so that each message counts once: then it returns False."""
    if not await move_mark(work.tx, work.shop, after=fact.after, upto=fact.upto):
        return False
    for message in fact.messages:
        conversation = await find_conversation(work.tx, work.shop, message.conversation)
        if conversation is None:
            continue
        await work.record(
            decide_found(
                conversation,
                await find_topics(work.tx, work.shop, conversation.id),
                position=message.position,
                found=[TopicFinding(topic=topic, score=score) for topic, score in message.found],
                now=work.now,
            )
        )
    return True
