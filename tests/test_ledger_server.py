"""A ledger on a server: faults in one line without the password, locks, runs side by side, a killed server."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from ledger_parts import HEADER, REQUESTS, relaxation
from postgres import PASSWORD, Server, postgres

from invdesign.engine.database import is_running
from invdesign.engine.ledger import Ledger
from invdesign.errors import InvdesignError, LedgerError

__all__ = ["postgres"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg://u:seCret-93@127.0.0.1:9/db", "the database server cannot be reached"),
        ("postgresql+psycopg://u@127.0.0.1:9/db?password=seCret-93", "the database server cannot be reached"),
        ("nonsense://u:seCret-93@host/db", "no such kind of database"),
        ("postgresql+psycopg://u:seCret-93@host:port/db", "not the URL of a database"),
        ("postgresql+psycopg://u:seCret-93@127.0.0.1:9/db?schema=a%20b", "schema: 'a b' is not valid"),
        ("mysql+pymysql://u:seCret-93@127.0.0.1:9/db", "pymysql is not installed"),
    ],
)
def test_a_wrong_url_is_one_line_without_its_password(url: str, says: str) -> None:
    pytest.importorskip("psycopg")
    for opening in (Ledger.open, Ledger.read, Ledger.exists, lambda w: Ledger.create(w, HEADER)):
        with pytest.raises(InvdesignError) as caught:
            opening(url)
        assert says in str(caught.value) and PASSWORD not in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_password_is_not_printed(postgres: Server) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger.open(postgres.url.replace(PASSWORD, "wrOng-44"))
    line = str(caught.value)
    assert "password authentication failed" in line and "PGPASSWORD" in line and "wrOng-44" not in line


def test_closing_lets_go_of_the_lock_of_a_server(postgres: Server) -> None:
    url = f"{postgres.url}?schema=closing"
    ledger = Ledger.create(url, HEADER)
    assert postgres.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(1,)]
    assert is_running(url) and not is_running(f"{postgres.url}?schema=another")
    idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    assert postgres.query(idle) == [(0,)], "a run holds no transaction open"
    ledger.close()
    time.sleep(0.2)
    assert not is_running(url)
    assert postgres.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_runs_of_one_database_do_not_see_each_other(postgres: Server) -> None:
    one, two = (f"{postgres.url}?schema={name}" for name in ("one", "two"))
    with Ledger.create(one, HEADER) as first, Ledger.create(two, replace(HEADER, seed=4)) as second:
        first.start_round(0, REQUESTS)
        second.start_round(0, REQUESTS[:1])
        assert len(first.requests(0)) == 2 and len(second.requests(0)) == 1
        assert (first.header.seed, second.header.seed) == (3, 4)


@pytest.mark.slow
def test_a_killed_server_is_one_line_and_the_run_goes_on_when_it_is_back(postgres: Server) -> None:
    url = f"{postgres.url}?schema=killed"
    ledger = Ledger.create(url, HEADER)
    ledger.start_round(0, REQUESTS)
    postgres.kill()
    for _ in range(2):
        with pytest.raises(LedgerError, match="the database server cannot be reached") as caught:
            ledger.add_relaxation(0, "r000-00-00000", relaxation())
        assert PASSWORD not in str(caught.value)
    ledger.close()
    postgres.start()
    with Ledger.open(url, HEADER) as again:
        assert again.requests(0) == REQUESTS and again.relaxations(0) == {}
