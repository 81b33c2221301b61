"""Every call to the registry fails once, from then on, or without its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.lifecycle import promote as promoting
from recsys_mtl.lifecycle import rollback as going_back
from recsys_mtl.lifecycle.commit import Change, commit, decision_tags
from recsys_mtl.lifecycle.compare import ModelComparison
from recsys_mtl.lifecycle.decide import Decision
from recsys_mtl.lifecycle.gate import Gate
from recsys_mtl.lifecycle.promote import Request, promote
from recsys_mtl.lifecycle.rollback import rollback
from recsys_mtl.lifecycle.rows import LoadedVersion

Make = Callable[..., Any]
HOWS = ("once", "for good", "answer lost")
CALLS = 40  # more than a promotion makes


def change(registry: Any, **keys: Any) -> Change:
    parts: dict[str, Any] = {
        "version": registry.resolve("shop/2", where=""),
        "tags": {2: decision_tags("promoted", "better", 1)},
        "champion": 1,
        "texts": {"report.md": "a", "report.html": "b"},
        "moves": (("previous", 1), ("champion", 2)),
    }
    return Change(**parts | keys)


def nothing() -> None:
    pass


def test_what_is_written(make_registry: Make) -> None:
    registry = make_registry(champion=1, previous=3)
    commit(registry, change(registry), nothing)
    assert registry.aliases == {"champion": 2, "previous": 1}
    assert registry.texts == {"2/report.md": "a", "2/report.html": "b"}
    tags = registry.tags[2]
    assert (tags["decision"], tags["decision_against"]) == ("promoted", "1")
    assert tags["decision_reason"] == "better"
    assert "@" in tags["decision_by"]
    assert tags["decision_at"].endswith("+00:00")
    assert registry.tags[1] == {}


@pytest.mark.parametrize("now", [3, None])
def test_a_champion_that_changed_meanwhile_stays(make_registry: Make, now: int | None) -> None:
    registry = make_registry(champion=now)
    before = registry.state()
    with pytest.raises(UserError, match=r"champion has changed.* expected version 1; found"):
        commit(registry, change(registry), nothing)
    assert registry.state() == before


def test_a_champion_that_changes_while_we_write_stays(make_registry: Make) -> None:
    registry = make_registry(champion=1)

    def another() -> None:
        registry.aliases["champion"] = 3

    with pytest.raises(UserError, match="found version 3"):
        commit(registry, change(registry), another)
    assert registry.aliases == {"champion": 3}
    assert registry.tags[2]["decision"] == "failed"


def test_a_lock_that_was_lost_moves_nothing(make_registry: Make) -> None:
    registry = make_registry(champion=1)

    def lost() -> None:
        raise UserError

    with pytest.raises(UserError):
        commit(registry, change(registry), lost)
    assert registry.aliases == {"champion": 1}
    assert registry.tags[2]["decision"] == "failed"


def test_an_interrupt_between_two_aliases_is_undone(make_registry: Make) -> None:
    registry = make_registry(champion=1, previous=None)
    set_alias = registry.set_alias

    def interrupted(name: str, alias: str, number: int) -> None:
        set_alias(name, alias, number)
        registry.set_alias = set_alias
        raise KeyboardInterrupt

    registry.set_alias = interrupted
    with pytest.raises(KeyboardInterrupt):
        commit(registry, change(registry), nothing)
    assert registry.aliases == {"champion": 1}


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are not loaded, and every challenger passes."""
    comparison = ModelComparison(Decision((), "better"), "some rows")
    predictor = type("Predictor", (), {"config": None})()
    for module in (promoting, going_back):
        monkeypatch.setattr(module, "load", lambda *_: LoadedVersion("model", predictor))
    monkeypatch.setattr(promoting, "compare", lambda *_, **__: comparison)
    monkeypatch.setattr(promoting, "first", lambda *_, **__: comparison)
    monkeypatch.setattr(promoting, "config_hash", lambda _: "c0ffee")


def attempt(registry: Any, work: Callable[[], Any]) -> bool:
    """Whether it went well."""
    try:
        work()
    except UserError:
        return False
    return True


@pytest.mark.usefixtures("decided")
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("aliases", [(1, 3), (1, None), (None, None)])
def test_a_promotion_that_fails_anywhere(
    make_registry: Make, how: Any, aliases: tuple[int | None, int | None]
) -> None:
    old, older = aliases
    before = {k: v for k, v in (("champion", old), ("previous", older)) if v is not None}
    after = {"champion": 2} if old is None else {"champion": 2, "previous": old}
    between = {} if old is None else {"champion": old, "previous": old}
    outcomes = set()
    for call in range(1, CALLS):
        registry = make_registry(*aliases)
        registry.fail(call, how)
        went_well = attempt(registry, lambda r=registry: promote(r, Gate(), Request("shop", "2")))
        used = registry.calls
        registry.heal()
        outcomes.add(went_well)
        if went_well:
            assert registry.aliases == after
            assert registry.tags[2]["decision"] == "promoted"
        elif how == "once":
            assert registry.aliases == before
            assert registry.tags[2].get("decision", "failed") == "failed"
        else:
            assert registry.aliases in (before, after, between)
        assert not registry.own_tags or how != "once" or went_well
        if registry.aliases != after:  # the next promotion mends what a cut one left
            request = Request("shop", "2", break_lock=True)
            promote(registry, Gate(), request)
            assert registry.aliases == after
            assert not registry.own_tags
        if used < call:
            break
    assert outcomes == {True, False}
    assert call < CALLS - 1


@pytest.mark.usefixtures("decided")
@pytest.mark.parametrize("how", HOWS)
def test_a_rollback_that_fails_anywhere(make_registry: Make, how: Any) -> None:
    before, after = {"champion": 2, "previous": 1}, {"champion": 1, "previous": 2}
    outcomes = set()
    for call in range(1, CALLS):
        registry = make_registry(2, 1)
        registry.fail(call, how)
        went_well = attempt(registry, lambda r=registry: rollback(r, "shop"))
        used = registry.calls
        registry.heal()
        outcomes.add(went_well)
        if went_well:
            assert registry.aliases == after
        elif how == "once":
            assert registry.aliases == before
        else:
            assert registry.aliases in (before, after, {"champion": 1, "previous": 1})
        if used < call:
            break
    assert outcomes == {True, False}
    assert call < CALLS - 1


@pytest.mark.usefixtures("decided")
def test_previous_that_is_the_champion_is_no_way_back(make_registry: Make) -> None:
    registry = make_registry(2, 2)
    before = registry.state()
    with pytest.raises(UserError, match="the champion itself: an earlier job was cut off"):
        rollback(registry, "shop")
    assert registry.state() == before
    promote(registry, Gate(), Request("shop", "3"))
    assert registry.aliases == {"champion": 3, "previous": 2}


@pytest.mark.usefixtures("decided")
def test_a_second_rollback_undoes_the_first(make_registry: Make) -> None:
    registry = make_registry(2, 1)
    rollback(registry, "shop")
    assert registry.aliases == {"champion": 1, "previous": 2}
    assert registry.tags[2]["decision"] == "rolled back"
    assert registry.tags[2]["decision_reason"] == "to version 1"
    assert registry.tags[1]["decision"] == "promoted"
    assert registry.tags[1]["decision_reason"] == "version 2 was rolled back"
    rollback(registry, "shop")
    assert registry.aliases == {"champion": 2, "previous": 1}
    assert [registry.tags[n]["decision"] for n in (1, 2)] == ["rolled back", "promoted"]
    assert not registry.own_tags


@pytest.mark.usefixtures("decided")
@pytest.mark.parametrize("aliases", [(2, None), (None, 2), (None, None)])
def test_no_way_back(make_registry: Make, aliases: tuple[int | None, int | None]) -> None:
    registry = make_registry(*aliases)
    with pytest.raises(UserError, match="no previous champion to go back to; found no alias '"):
        rollback(registry, "shop")
    assert registry.tags == {1: {}, 2: {}, 3: {}}


@pytest.mark.usefixtures("decided")
def test_a_dry_run_only_reads(make_registry: Make) -> None:
    registry = make_registry(1, 3)
    before = registry.state()
    result = promote(registry, Gate(), Request("shop", "2", dry_run=True)).numbers
    assert registry.state() == before
    assert (result["dry_run"], result["decision"]["passed"]) == (True, True)


@pytest.mark.usefixtures("decided")
def test_a_rejection_moves_no_alias(make_registry: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = make_registry(1, 3)
    comparison = ModelComparison(Decision(("worse",), "worse"), "some rows")
    monkeypatch.setattr(promoting, "compare", lambda *_, **__: comparison)
    promote(registry, Gate(), Request("shop", "2"))
    assert registry.aliases == {"champion": 1, "previous": 3}
    tags = registry.tags[2]
    assert (tags["decision"], tags["decision_reason"]) == ("rejected", "worse")
    assert {name.rpartition("/")[2] for name in registry.texts} == {
        "report.md", "report.html", "report.json",
    }  # fmt: skip
    assert all(name.startswith("2/promotion/20") for name in registry.texts)


@pytest.mark.usefixtures("decided")
def test_the_champion_is_no_challenger(make_registry: Make) -> None:
    registry = make_registry(2)
    with pytest.raises(UserError, match="--challenger 2: version 2 is the champion already"):
        promote(registry, Gate(), Request("shop", "2"))
