"""Presence: who is online until when (features B1 to B3, guarantee G5), on a clock that is set by hand."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.live.presence import ENDS_AT_ONCE, Change, MemoryPresence

GONE = 5.0
HIDDEN = 60.0


class Watch:
    """A presence, its clock, and all that it told."""

    def __init__(self, *, gone: float = GONE, hidden: float = HIDDEN) -> None:
        self.told: list[Change] = []
        self.presence = MemoryPresence(self.told.append, gone_grace_seconds=gone, hidden_grace_seconds=hidden)
        self.now = 100.0

    def show(self, connection: str, *, person: str = "mia", shop: str = "shop") -> None:
        self.presence.hold(shop, person, connection, active=True, now=self.now)

    def hide(self, connection: str, *, person: str = "mia", shop: str = "shop") -> None:
        self.presence.hold(shop, person, connection, active=False, now=self.now)

    def drop(self, connection: str, *, person: str = "mia", shop: str = "shop") -> None:
        self.presence.release(shop, person, connection, now=self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass as it does in the program, with a look every half second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.5, end)
            self.presence.expire(self.now)

    def is_online(self) -> bool:
        online = self.presence.is_online("shop", "mia")
        assert online == ("mia" in self.presence.online("shop"))
        return online

    @property
    def changes(self) -> list[bool]:
        return [change.online for change in self.told]


@pytest.fixture
def watch() -> Watch:
    return Watch()


# ---------------------------------------------------------------- coming and going


def test_of_a_crowd_that_has_left_so_many_are_told_at_a_time(watch: Watch) -> None:
    people = [str(number) for number in range(2 * ENDS_AT_ONCE + 10)]
    for person in people:
        watch.show("one", person=person)
        watch.drop("one", person=person)
    watch.now += GONE
    here = []
    while watch.presence.expire(watch.now):
        here.append(len(watch.presence.online("shop")))
    assert here == [ENDS_AT_ONCE + 10, 10]
    assert watch.presence.online("shop") == []


def test_who_opens_a_page_is_online_at_once(watch: Watch) -> None:
    assert not watch.is_online()
    watch.show("tab")
    assert watch.is_online()
    assert watch.told == [Change("shop", "mia", True)]


def test_who_stays_is_online_for_as_long_as_they_stay(watch: Watch) -> None:
    watch.show("tab")
    watch.wait(3_600)
    assert watch.is_online() and watch.changes == [True]


def test_the_last_tab_that_closes_ends_it_after_the_grace_and_not_before(watch: Watch) -> None:
    watch.show("tab")
    watch.drop("tab")
    watch.wait(GONE - 0.5)
    assert watch.is_online()
    watch.wait(0.5)
    assert not watch.is_online()
    assert watch.told == [Change("shop", "mia", True), Change("shop", "mia", False)]


def test_walking_from_page_to_page_is_neither_going_nor_coming(watch: Watch) -> None:
    """Full page loads: browsers hide the page, close its socket, and open the next one a moment later."""
    watch.show("page 0")
    for number in range(50):
        watch.hide(f"page {number}")
        watch.drop(f"page {number}")
        watch.wait(GONE - 0.5)
        watch.show(f"page {number + 1}")
        watch.wait(20)
    assert watch.changes == [True]


def test_a_page_that_opens_before_the_last_one_is_lost_counts_as_well(watch: Watch) -> None:
    watch.show("old")
    watch.show("new")
    watch.drop("old")
    watch.wait(300)
    assert watch.changes == [True]


def test_of_several_tabs_only_the_last_one_matters(watch: Watch) -> None:
    for tab in ("one", "two", "three"):
        watch.show(tab)
    watch.drop("two")
    watch.drop("one")
    watch.wait(300)
    assert watch.is_online()
    watch.drop("three")
    watch.wait(GONE)
    assert watch.changes == [True, False]


def test_who_comes_back_is_told_again(watch: Watch) -> None:
    for _ in range(3):
        watch.show("tab")
        watch.drop("tab")
        watch.wait(GONE)
    assert watch.changes == [True, False] * 3


# ---------------------------------------------------------------- hidden pages


def test_a_look_into_another_tab_is_not_a_departure(watch: Watch) -> None:
    watch.show("tab")
    for _ in range(10):
        watch.hide("tab")
        watch.wait(HIDDEN - 1)
        watch.show("tab")
        watch.wait(1)
    assert watch.changes == [True]


def test_a_page_that_stays_hidden_ends_it_although_it_is_open(watch: Watch) -> None:
    watch.show("tab")
    watch.hide("tab")
    watch.wait(HIDDEN - 0.5)
    assert watch.is_online()
    watch.wait(0.5)
    assert not watch.is_online()
    watch.show("tab")
    assert watch.changes == [True, False, True]


def test_saying_again_that_a_page_is_hidden_gains_no_time(watch: Watch) -> None:
    watch.show("tab")
    watch.hide("tab")
    for _ in range(int(HIDDEN)):
        watch.wait(1)
        watch.hide("tab")
    assert not watch.is_online()


def test_a_page_that_was_never_before_their_eyes_makes_nobody_online(watch: Watch) -> None:
    watch.hide("opened in the background")
    watch.wait(10)
    assert not watch.is_online() and watch.told == []
    watch.drop("opened in the background")
    watch.wait(HIDDEN)
    assert watch.told == []


def test_closing_the_hidden_page_ends_it_sooner(watch: Watch) -> None:
    watch.show("tab")
    watch.hide("tab")
    watch.wait(10)
    watch.drop("tab")
    watch.wait(GONE)
    assert not watch.is_online()


def test_closing_a_page_that_was_hidden_for_long_gains_no_time(watch: Watch) -> None:
    watch.show("tab")
    watch.hide("tab")
    watch.wait(HIDDEN - 1)
    watch.drop("tab")
    watch.wait(1)
    assert not watch.is_online()


def test_closing_the_page_in_front_leaves_the_hidden_one_its_time(watch: Watch) -> None:
    watch.hide("behind")
    watch.show("in front")
    watch.drop("in front")
    watch.wait(HIDDEN - 0.5)
    assert watch.is_online()
    watch.wait(0.5)
    assert not watch.is_online()


def test_a_hidden_page_that_loads_anew_keeps_its_time(watch: Watch) -> None:
    """A shop's page that reloads itself in the background closes one socket and opens the next."""
    watch.show("before")
    watch.hide("before")
    watch.wait(10)
    watch.drop("before")
    watch.wait(1)
    watch.hide("after")
    watch.wait(HIDDEN - 11.5)
    assert watch.is_online()
    watch.wait(0.5)
    assert not watch.is_online()


def test_a_hidden_grace_that_is_set_shorter_than_a_page_change_does_not_flicker() -> None:
    watch = Watch(gone=5.0, hidden=0.0)
    watch.show("one")
    watch.hide("one")
    watch.drop("one")
    watch.wait(4)
    watch.show("two")
    assert watch.changes == [True]


# ---------------------------------------------------------------- apart, and nonsense


def test_the_same_name_in_two_shops_is_two_people(watch: Watch) -> None:
    watch.show("tab", shop="shop")
    watch.show("tab", shop="other")
    watch.drop("tab", shop="other")
    watch.wait(GONE)
    assert watch.presence.online("shop") == ["mia"]
    assert watch.presence.online("other") == []
    assert not watch.presence.is_online("other", "mia")


def test_letting_go_of_what_nobody_holds_changes_nothing(watch: Watch) -> None:
    watch.drop("never held")
    watch.show("tab")
    watch.drop("never held")
    watch.drop("tab")
    watch.drop("tab")
    watch.wait(GONE)
    assert watch.changes == [True, False]


def test_holding_twice_is_holding_once(watch: Watch) -> None:
    watch.show("tab")
    watch.show("tab")
    watch.drop("tab")
    watch.wait(GONE)
    assert watch.changes == [True, False]


# ---------------------------------------------------------------- memory


def entries_of(presence: MemoryPresence) -> int:
    """How much it remembers of anybody."""
    return sum(len(people) for people in presence._shops.values()) + len(presence._shops) + len(presence._ends)


def test_nothing_is_remembered_of_those_who_left(watch: Watch) -> None:
    for number in range(1_000):
        watch.show("tab", person=f"visitor {number}", shop=f"shop {number % 7}")
        watch.show("hidden", person=f"visitor {number}", shop=f"shop {number % 7}")
        watch.hide("hidden", person=f"visitor {number}", shop=f"shop {number % 7}")
        watch.hide("in the background", person=f"nobody {number}")
    for number in range(1_000):
        watch.drop("tab", person=f"visitor {number}", shop=f"shop {number % 7}")
        watch.drop("in the background", person=f"nobody {number}")
    watch.wait(10)
    for number in range(1_000):
        watch.drop("hidden", person=f"visitor {number}", shop=f"shop {number % 7}")
    watch.wait(HIDDEN)
    assert len(watch.told) == 2_000
    assert entries_of(watch.presence) == 0


def test_a_page_that_hides_and_shows_itself_all_day_costs_no_more_than_one_that_does_not(watch: Watch) -> None:
    watch.show("tab")
    for _ in range(10_000):
        watch.hide("tab")
        watch.show("tab")
    assert entries_of(watch.presence) <= 3


# ---------------------------------------------------------------- everything at once


class Step(NamedTuple):
    after_seconds: float
    act: Literal["show", "hide", "drop", "look"]
    person: str
    connection: str


class Model:
    """Presence as one would explain it, for one person: no heap, no shops."""

    def __init__(self) -> None:
        self.active: dict[str, bool] = {}
        self.online = False
        self.idle_since = self.empty_since = 0.0

    def look(self, now: float) -> None:
        if self.online and not any(self.active.values()):
            over = now >= self.idle_since + HIDDEN or (not self.active and now >= self.empty_since + GONE)
            self.online = not over

    def apply(self, act: str, connection: str, now: float) -> None:
        was_active = any(self.active.values())
        was_held = bool(self.active)
        if act in ("show", "hide"):
            self.active[connection] = act == "show"
        elif act == "drop":
            self.active.pop(connection, None)
        if any(self.active.values()):
            self.online = True
        elif was_active:
            self.idle_since = now
        if was_held and not self.active:
            self.empty_since = now


steps = st.lists(
    st.builds(
        Step,
        after_seconds=st.sampled_from([0.0, 0.5, 1.0, GONE - 0.5, GONE, HIDDEN - GONE, HIDDEN, 2 * HIDDEN]),
        act=st.sampled_from(["show", "hide", "drop", "look"]),
        person=st.sampled_from(["mia", "leo"]),
        connection=st.sampled_from(["one", "two", "three"]),
    ),
    max_size=40,
)


@given(steps)
def test_whatever_tabs_do_presence_is_what_one_would_explain(history: list[Step]) -> None:
    watch = Watch()
    models = {"mia": Model(), "leo": Model()}
    expected: list[tuple[str, bool]] = []

    def compare(before: dict[str, bool]) -> None:
        expected.extend((name, models[name].online) for name in models if models[name].online != before[name])
        assert {name for name, model in models.items() if model.online} == set(watch.presence.online("shop"))

    for step in history:
        watch.now += step.after_seconds
        before = {name: model.online for name, model in models.items()}
        watch.presence.expire(watch.now)
        for model in models.values():
            model.look(watch.now)
        compare(before)
        before = {name: model.online for name, model in models.items()}
        models[step.person].apply(step.act, step.connection, watch.now)
        if step.act != "look":
            getattr(watch, step.act)(step.connection, person=step.person)
        compare(before)

    for name in models:
        told = [change.online for change in watch.told if change.person == name]
        assert told == [online for person, online in expected if person == name]
        assert all(told[index] != told[index + 1] for index in range(len(told) - 1)), "told twice"

    for name in models:
        for connection in ("one", "two", "three"):
            watch.drop(connection, person=name)
    watch.presence.expire(watch.now + HIDDEN)
    assert watch.presence.online("shop") == []
    assert entries_of(watch.presence) == 0
