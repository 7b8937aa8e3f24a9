"""The lifeline tells a stop from an end, to every thread that asks, for as long as it is asked."""

import os

from affidavit.ledger.lifeline import Lifeline, make_lifeline, tell_to_stop


def test_nothing_yet():
    child, supervisor = make_lifeline()
    assert Lifeline(child).ending() is None
    assert Lifeline(child).wait(0.01) is None
    os.close(child)
    os.close(supervisor)


def test_told_to_stop_stays_so_even_when_the_supervisor_goes():
    child, supervisor = make_lifeline()
    tell_to_stop(supervisor)
    first, second = Lifeline(child), Lifeline(child)
    assert first.wait(None) == "stop"
    os.close(supervisor)
    assert second.ending() == "stop"
    assert first.ending() == "stop"
    os.close(child)


def test_the_end_of_the_supervisor_is_no_stop():
    child, supervisor = make_lifeline()
    os.close(supervisor)
    assert Lifeline(child).wait(None) == "orphaned"
    os.close(child)


def test_who_was_orphaned_stays_so():
    child, supervisor = make_lifeline()
    lifeline = Lifeline(child)
    os.close(supervisor)
    assert [lifeline.ending(), lifeline.ending()] == ["orphaned", "orphaned"]
    assert lifeline.fileno() == child
    os.close(child)


def test_telling_a_child_that_is_gone_is_no_error():
    child, supervisor = make_lifeline()
    os.close(child)
    tell_to_stop(supervisor)
    os.close(supervisor)


def test_the_ends_are_not_inherited_by_chance():
    child, supervisor = make_lifeline()
    assert not os.get_inheritable(child)
    assert not os.get_inheritable(supervisor)
    os.close(child)
    os.close(supervisor)
