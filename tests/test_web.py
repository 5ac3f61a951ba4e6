"""The local page without a browser: who is let in, what may be read, and what is said of every wrong request."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import test_runs as campaign
from postgres import PASSWORD, Server, postgres
from run_folder import run_folder
from starlette.testclient import TestClient

from invdesign.app.feasibility import known_values
from invdesign.errors import InputError, OutputError
from invdesign.properties import SHIPPED
from invdesign.report import export
from invdesign.web import candidates, feedback, form, processes, server, state
from invdesign.web.distribution import distribution
from invdesign.web.folder import BESIDE, Runs
from invdesign.web.guard import LARGEST

__all__ = ["postgres"]
ORIGIN = {"origin": "http://localhost"}
TARGET = {"target_property": "bulk_modulus", "target_operator": "min", "target_value": "200", "target_to": ""}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run"), 6)


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Runs:
    for name in ("one", "two"):
        shutil.copytree(made, tmp_path / "runs" / name)
    (tmp_path / "secret.csv").write_text("secret")
    return Runs.of(tmp_path / "runs")


@pytest.fixture
def client(runs: Runs) -> TestClient:
    found = TestClient(server.application(runs, 80), base_url="http://localhost")
    assert found.get(f"/?token={runs.token()}").status_code == 200
    return found


def line(answer: Any) -> str:
    """The one line that a page or a script is told."""
    if answer.headers["content-type"].startswith("application/json"):
        return str(answer.json()["error"])
    found = re.search(r'<p class="problem" role="alert">(.*?)</p>', answer.text, re.DOTALL)
    assert found is not None, answer.text
    return found[1].replace("&#39;", "'").replace("&gt;", ">")


def test_a_run_that_was_stopped_can_go_on_though_its_list_is_written(runs: Runs) -> None:
    campaign.made(runs.root / "one", rounds=1).close()
    found = state.state(runs, "one")
    assert (found.status, found.relaxed, found.budget) == ("stopped", 4, 12)
    (runs.root / "two" / export.LEDGER).unlink(missing_ok=True)
    campaign.made(runs.root / "two").close()
    assert state.state(runs, "two").status == "finished"


def test_a_run_on_a_server_is_shown(runs: Runs, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    running = campaign.made(f"{postgres.url}?schema=shown", rounds=1)
    (runs.root / "far").mkdir()
    assert running.ledger is not None
    (runs.root / "far" / export.LEDGER_URL).write_text(running.ledger.where)
    assert "far" in runs.names() and state.state(runs, "far").status == "elsewhere"
    running.close()
    found = state.state(runs, "far")
    assert (found.status, found.relaxed, found.budget) == ("stopped", 4, 12) and "bulk modulus" in found.query


def test_only_the_token_lets_in_and_a_cookie_takes_its_place(runs: Runs) -> None:
    stranger = TestClient(server.application(runs, 80), base_url="http://localhost", follow_redirects=False)
    for path in ("/", "/runs/one", "/runs/one/report.html", "/assets/app.css", "/?token=", "/?token=é"):
        assert stranger.get(path).status_code == 401
    assert stranger.post("/runs/one/stop", headers=ORIGIN).status_code == 401
    let_in = stranger.get(f"/runs/one?token={runs.token()}&find=Ti")
    assert (let_in.status_code, let_in.headers["location"]) == (303, "/runs/one?find=Ti")
    cookie = let_in.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    assert stranger.get("/").status_code == 200


def test_a_token_in_an_address_never_leads_elsewhere(runs: Runs) -> None:
    stranger = TestClient(server.application(runs, 80), base_url="http://localhost", follow_redirects=False)
    answer = stranger.get(f"//evil.example/x?token={runs.token()}")
    assert answer.headers["location"].startswith("/") and not answer.headers["location"].startswith("//")


def test_the_token_is_random_kept_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first, again, other = Runs.of(tmp_path / "a"), Runs.of(tmp_path / "a"), Runs.of(tmp_path / "b")
    assert first.token() == again.token() != other.token()
    assert len(first.token()) >= 40
    kept = tmp_path / "a" / BESIDE / "token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_other_pages_and_other_names_of_the_machine_are_refused(client: TestClient) -> None:
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/runs/one/resume", headers=headers).status_code == 403
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_every_answer_carries_a_policy(client: TestClient) -> None:
    for path in ("/", "/compose", "/runs/one", "/nowhere"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
    report = client.get("/runs/one/report.html")
    assert report.status_code == 200
    assert "sandbox" in report.headers["content-security-policy"]
    assert "allow-same-origin" not in report.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    ["/runs/one/../../secret.csv", "/runs/one/%2e%2e/%2e%2e/secret.csv", "/runs/..%2f..%2fsecret.csv",
     "/runs/one/..%2f..%2fsecret.csv", "/runs/one//etc/passwd", "/runs/one/cif/..%2f..%2f..%2fsecret.cif",
     "/runs/.app/token", "/runs/one/ledger.sqlite", "/runs/one/link.cif", "/runs/one/cif/link.cif", "/runs/.",
     "/runs/link", "/runs/one/cif/%00.cif"],
)  # fmt: skip
def test_nothing_outside_a_run_is_read(client: TestClient, runs: Runs, path: str) -> None:
    (runs.root / "one" / "ledger.sqlite").write_text("secret")
    (runs.root / "one" / "cif" / "link.cif").symlink_to(runs.root.parent / "secret.csv")
    (runs.root / "link").symlink_to(runs.root.parent)
    answer = client.get(path)
    assert answer.status_code in (400, 404, 405) and answer.text != "secret"
    assert runs.token() not in answer.text


def test_files_of_a_run_are_served(client: TestClient, runs: Runs) -> None:
    cif = next((runs.root / "one" / "cif").iterdir())
    answer = client.get(f"/runs/one/cif/{cif.name}")
    assert answer.content == cif.read_bytes() and "attachment" in answer.headers["content-disposition"]
    assert client.get("/runs/one/candidates.csv").status_code == 200


def test_a_request_that_is_too_large_is_not_read(client: TestClient) -> None:
    files = {"results": ("big.csv", io.BytesIO(b"x" * (LARGEST + 1)))}
    answer = client.post("/runs/one/feedback", files=files, headers=ORIGIN)
    assert answer.status_code == 413 and "4 MB" in answer.text

    def parts() -> Any:  # without a length in its head
        yield from [b"x" * 65536] * (LARGEST // 65536 + 2)

    head = {**ORIGIN, "content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/runs/one/feedback", content=parts(), headers=head)
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": "many"}, "n: 'many' is not valid; allowed: a whole number"),
        ({"n": "0"}, "n: 0 is not valid"),
        ({"minutes": "soon"}, "minutes: 'soon' is not valid"),
        ({"minutes": "0.01"}, "minutes: 0.01 is not valid; allowed: at least"),
        ({"workers": "0"}, "workers: 0 is not valid"),
        ({"seed": "-1"}, "seed: -1 is not valid"),
        ({"target_value": ""}, "target: 'bulk_modulus>=' is not valid; allowed: name>=v"),
        ({"target_value": "9999"}, "target bulk_modulus: 9999.0 is not valid; allowed: 0.1 to 700 GPa"),
        ({"target_property": "colour"}, "property: 'colour' is not valid"),
        ({"target_operator": "near"}, "target bulk_modulus: operator: 'near' is not valid"),
        ({"elements": "Xx"}, "element in elements: 'Xx' is not valid"),
        ({"required": "Co", "exclude": "Co"}, "element Co is both wanted and excluded"),
        ({"component": "/etc/passwd"}, "component: '/etc/passwd' is not valid; allowed: "),
        ({"generator": "os:system"}, "generator: 'os:system' is not valid; allowed: vae"),
        ({"space_group": "999"}, "space_group: "),
        ({"target_property": "", "n": "3"}, "nothing is asked for"),
    ],
)
def test_a_bad_query_is_said_as_in_the_shell(client: TestClient, change: dict[str, str], said: str) -> None:
    answer = client.post("/estimate", data=TARGET | change, headers=ORIGIN)
    assert answer.status_code == 400 and line(answer).startswith(said)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", ".app", "x" * 65, "one"])
def test_a_run_needs_a_free_and_plain_name(client: TestClient, runs: Runs, name: str) -> None:
    before = sorted(path.name for path in runs.root.iterdir())
    answer = client.post("/runs", data=TARGET | {"name": name}, headers=ORIGIN)
    assert answer.status_code == 400
    assert line(answer).startswith("output folder" if name == "one" else "name of the run")
    assert sorted(path.name for path in runs.root.iterdir()) == before


def test_structures_to_start_from_are_read_as_in_the_shell(client: TestClient, runs: Runs) -> None:
    accept = {**ORIGIN, "accept": "application/json"}
    bad = {"start": ("../../bad.cif", io.BytesIO(b"no crystal"))}
    answer = client.post("/estimate", data=TARGET, files=bad, headers=accept)
    assert answer.status_code == 400 and "bad.cif" in answer.json()["error"]
    assert not (runs.root.parent.parent / "bad.cif").exists()


def test_an_estimate_is_that_of_a_dry_run(client: TestClient) -> None:
    answer = client.post("/estimate", data=TARGET | {"relaxations": "6", "exclude": "toxic, Co"}, headers=ORIGIN)
    found = answer.json()
    assert "6 relaxations in" in found["lines"][1] and found["minutes"] > 0.0
    assert "bulk modulus of at least 200 GPa" in found["lines"][0]


def test_lists_filter_sort_and_compare(client: TestClient, runs: Runs) -> None:
    found = candidates.run(runs.run("one"))
    best, last = found.rows[0], found.rows[-1]
    page = client.get("/runs/one").text
    assert page.count('name="c"') == 6
    few = client.get("/runs/one", params={"find": best["formula"]}).text
    assert 1 <= few.count('name="c"') < 6
    middle = sorted(float(row["density"]) for row in found.rows)[3]
    assert client.get("/runs/one", params={"density:min": middle}).text.count('name="c"') == 3
    wanted = candidates.Wanted.of({"sort": "density", "order": "rising"})
    densities = [float(row["density"]) for row in wanted.chosen(found.rows)]
    assert densities == sorted(densities)
    assert "density at least: 'dense' is not valid" in line(
        client.get("/runs/one", params={"density:min": "dense"})
    )
    keys = [f"one/{best['id']}", f"two/{last['id']}"]
    side = client.get("/compare", params={"c": keys}).text
    assert "bulk modulus K (GPa)" in side and str(best["file"]) in side
    runs_beside = client.get("/compare", params={"run": ["one", "two"]}).text
    assert all(str(row["formula"]) in runs_beside for row in found.rows)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"c": ["one/x", "one/y"]}, "candidate: 'x' is not valid"),
        ({"c": ["one/x"]}, "candidates to compare: 1 is not valid; allowed: 2 to 6"),
        ({"run": ["one"]}, "runs to compare: 'one' is not valid"),
        ({"run": ["one", "none"]}, "run: 'none' is not valid; allowed: "),
    ],
)
def test_what_cannot_be_compared_is_said(client: TestClient, query: dict[str, Any], said: str) -> None:
    answer = client.get("/compare", params=query)
    assert answer.status_code == 400 and line(answer).startswith(said)


def test_exports_are_those_of_the_command_line(client: TestClient, runs: Runs) -> None:
    with zipfile.ZipFile(io.BytesIO(client.get("/runs/one/export/zip").content)) as archive:
        assert {"one/candidates.csv", "one/report.html"} <= set(archive.namelist())
    with zipfile.ZipFile(io.BytesIO(client.get("/runs/one/export/poscar").content)) as archive:
        assert len(archive.namelist()) == 6
    assert client.get("/runs/one/export/cif").text.count("data_") == 6
    assert line(client.get("/runs/one/export/docx")).startswith("format: 'docx' is not valid")
    assert not (runs.root / "one" / "candidates.zip").exists()


def test_a_candidate_that_is_hostile_stays_text(client: TestClient, runs: Runs) -> None:
    record = runs.root / "one" / "run.json"
    told = json.loads(record.read_text()) | {"query_in_words": "<script>alert(1)</script>"}
    record.write_text(json.dumps(told))
    for path in ("/", "/runs/one", "/compare?run=one&run=two"):
        assert "<script>alert" not in client.get(path).text


def test_feedback_is_checked_before_a_process_is_started(client: TestClient, runs: Runs) -> None:
    first = candidates.run(runs.run("one")).rows[0]
    fields = {"candidate": str(first["id"]), "property": "bulk_modulus", "value": "stiff", "std": ""}
    assert "stiff" in line(client.post("/runs/one/feedback", data=fields, headers=ORIGIN))
    fields |= {"candidate": "x", "value": "200"}
    assert line(client.post("/runs/one/feedback", data=fields, headers=ORIGIN)).startswith("candidate: 'x'")
    table = {"results": ("r.csv", io.BytesIO(b"\xff\xfe\x00"))}
    assert line(client.post("/runs/one/feedback", files=table, headers=ORIGIN)).startswith("results: ")
    assert runs.process("one") == {}


def test_feedback_starts_a_process_with_the_table(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(processes, "start", lambda runs, name, arguments: asked.append(arguments))
    first = candidates.run(runs.run("one")).rows[0]
    fields = {"candidate": str(first["id"]), "property": "bulk_modulus", "value": "210", "std": "5"}
    feedback.start(runs, "one", None, fields)
    verb, folder, table = asked[0]
    assert (verb, folder) == ("feedback", str(runs.root / "one"))
    assert Path(table).read_text().splitlines() == ["id,bulk_modulus,bulk_modulus_std", f"{first['id']},210,5"]


@pytest.mark.parametrize(
    ("verb", "said"), [("stop", "one that was started here"), ("resume", "one that has begun")]
)
def test_verbs_that_a_run_cannot_follow_are_refused(client: TestClient, verb: str, said: str) -> None:
    assert said in line(client.post(f"/runs/one/{verb}", headers=ORIGIN))
    assert line(client.post(f"/runs/nothing/{verb}", headers=ORIGIN)).startswith("run: 'nothing' is not valid")


def test_pages_that_are_not_there_are_said(client: TestClient) -> None:
    assert client.get("/nowhere").status_code == 404
    assert line(client.get("/runs/nothing")).startswith("run: 'nothing' is not valid; allowed: ")
    assert client.get("/runs/one/stop").status_code == 400  # no file of that name; a stop is posted


def test_an_empty_folder_invites(tmp_path: Path) -> None:
    runs = Runs.of(tmp_path / "new")
    client = TestClient(server.application(runs, 80), base_url="http://localhost")
    assert "There is no run yet" in client.get(f"/?token={runs.token()}").text


def wait(runs: Runs, name: str) -> None:
    for _ in range(600):
        if processes.alive(runs, name) is None:
            return
        time.sleep(0.1)
    raise AssertionError("the process goes on")


def test_a_process_is_found_by_its_record_and_not_by_its_number_alone(runs: Runs) -> None:
    processes.start(runs, "one", ["list", "nothing"])
    assert processes.alive(runs, "one") is not None
    with pytest.raises(InputError, match="not running"):
        processes.start(runs, "one", ["list", "nothing"])
    wait(runs, "one")
    assert "'nothing'" in state.read_log(runs.log("one")).error
    runs.write_process("one", {"pid": os.getpid(), "created": 1.0})  # a number that another process has by now
    assert processes.alive(runs, "one") is None
    with pytest.raises(InputError, match="started here"):
        processes.stop(runs, "one")


def test_a_stop_interrupts_the_process(runs: Runs) -> None:
    processes.start(runs, "one", ["design", "--target", "bulk_modulus>=200", "--out", str(runs.root / "new")])
    processes.stop(runs, "one")
    assert runs.process("one")["stop_asked"] > 0.0
    with suppress(InputError):  # it may have ended by now
        processes.stop(runs, "one")
    wait(runs, "one")
    assert not (runs.root / "new" / "run.json").exists()


def test_a_log_tells_stage_rounds_and_the_last_error(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(
        "run folder: x\n[    10 s] round 1: relax: 1/3\nround 1: 1 relaxed, 1 stable and new\n"
        "invdesign: note: something\n[    20 s] shake: 4\n"
    )
    found = state.read_log(log)
    assert (found.stage, found.done, found.total, found.error) == ("shake", 4, None, "")
    assert found.rounds == ("round 1: 1 relaxed, 1 stable and new",)
    log.write_text("[    10 s] a: 1/2\ninvdesign: interrupted; go on with: invdesign resume x\n")
    assert state.read_log(log).error.startswith("interrupted")
    assert state.read_log(tmp_path / "none") == state.Log()


@pytest.mark.parametrize("name", ["bulk_modulus", "density", "band_gap", "poisson_ratio"])
def test_a_distribution_is_that_of_the_known_values(name: str) -> None:
    found, values = distribution(name), known_values(name)
    assert len(values) > 1000
    middle = found["quantiles"][50]
    assert abs((values < middle).mean() - 0.5) < 0.02
    assert found["low"] < middle < found["high"] and found["path"].startswith("M0 56")
    assert SHIPPED[name].label.lower() in found["words"].lower()


def test_a_property_without_known_values_has_no_drawing(client: TestClient) -> None:
    assert client.get("/distribution/max_service_temperature").json()["path"] == ""
    answer = client.get("/distribution/colour", headers={"accept": "application/json"})
    assert line(answer).startswith("property: 'colour' is not valid")


def test_the_periodic_table_has_every_element_once() -> None:
    cells = form.periodic_table()
    assert len(cells) == 103 and len({(cell["row"], cell["column"]) for cell in cells}) == 103
    by_symbol = {cell["symbol"]: cell for cell in cells}
    assert (by_symbol["Fe"]["column"], by_symbol["Fe"]["row"]) == (8, 4)
    assert (by_symbol["La"]["row"], by_symbol["Lr"]["row"], by_symbol["Lr"]["column"]) == (8, 9, 17)
    assert by_symbol["Ti"]["known"] and not by_symbol["Lr"]["known"]


def test_an_address_that_is_taken_or_wrong_is_said() -> None:
    held = server.listening("127.0.0.1", 0)
    with pytest.raises(InputError, match="--port 0 takes any free one"):
        server.listening("127.0.0.1", held.getsockname()[1])
    held.close()
    with pytest.raises(InputError, match="an address of this machine"):
        server.listening("host.invalid", 0)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        Runs.of(tmp_path / "file")


def test_a_missing_package_says_how_to_install_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from invdesign.cli import main; main(['app', 'runs'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'invdesign[app]'" in done.stderr
    assert not (tmp_path / "runs").exists()
