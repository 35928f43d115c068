"""What is reached from inside real workspaces, with the filter in a real kernel.

A dockerd, a hub and an Internet of the test's own. The tests build on each other, because starting an
engine takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time

import pytest

from persistent_terminal_hub.hub.egress_link import socket_path
from tests.integration.egress_fixtures import (
    HUB,
    INTERVAL,
    METADATA,
    OTHER_PUBLIC,
    POOL,
    PRIVATE,
    PUBLIC,
    RESOLVER,
    SITE,
    FilteredSite,
)
from tests.integration.outage_fixtures import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.timeout(240)]
pytest_plugins = ["tests.integration.docker_fixtures", "tests.integration.egress_fixtures"]

#: What no workspace reaches, whatever its policy: the metadata service, the host's services on every
#: address it has, the hub's other ports, databases.
FORBIDDEN = [
    (METADATA, 80), (SITE, 22), (SITE, 9000), (HUB, 9000), (HUB, 5432), (SITE, 8081), (PRIVATE, 5432),
    (PRIVATE, 80), (SITE, 22, "udp"), (METADATA, 53, "udp"),
]  # fmt: skip
API = (HUB, 8081)


def start(site: FilteredSite, user: str, **options: object) -> None:
    begin(site, user, **options)
    wait_for(f"{user}'s workspace", lambda: site.ready(user))


def begin(site: FilteredSite, user: str, **options: object) -> None:
    site.api("POST", f"/users/{user}")
    answer = site.api("POST", f"/users/{user}/server", **options)
    assert answer.status_code in (201, 202), answer.text


def state(site: FilteredSite, user: str) -> dict[str, object]:
    return dict(site.server(user)["state"])


def test_without_a_helper_everything_is_reached_and_that_is_said(filtered_site: FilteredSite) -> None:
    site = filtered_site
    start(site, "ann")
    # The targets are real: what is refused below is refused by the filter.
    assert all(site.reaches("ann", *FORBIDDEN, API, (PUBLIC, 80), (OTHER_PUBLIC, 80), (PRIVATE, 443)))
    assert state(site, "ann")["egress"] == "not enforced"
    # Less than `internet` is not promised where it cannot be kept.
    site.api("POST", "/users/eve")
    refused = site.api("POST", "/users/eve/server", egress="none")
    assert refused.status_code == 503 and "cannot filter networks" in refused.json()["message"]
    assert site.container("eve") == {}


def test_internet_none_and_list(filtered_site: FilteredSite) -> None:
    site = filtered_site
    assert site.hub is not None
    site.hub.send_signal(signal.SIGSTOP)
    try:
        site.start_helper()
        # Of ann nobody told this helper yet: a sender it does not know reaches nothing but the hub.
        before = site.reaches("ann", API, (PUBLIC, 80), (METADATA, 80), (SITE, 9000))
        assert before == [True, False, False, False]
    finally:
        site.hub.send_signal(signal.SIGCONT)
    wait_for("the hub's word", lambda: state(site, "ann").get("egress") == "internet")
    assert site.reaches("ann", API, (PUBLIC, 80), (METADATA, 80), (SITE, 9000)) == [True, True, False, False]
    begin(site, "bob")
    begin(site, "cara", egress="none")
    begin(site, "dan", egress="list")
    wait_for("their workspaces", lambda: all(site.ready(user) for user in ("bob", "cara", "dan")))
    targets = [(PUBLIC, 80), (OTHER_PUBLIC, 80), (PRIVATE, 443), (RESOLVER, 53, "udp"), (RESOLVER, 443)]
    assert site.reaches("bob", *targets) == [True, True, False, True, False]
    assert site.reaches("cara", *targets) == [False, False, False, False, False]
    assert site.reaches("dan", *targets) == [False, True, True, False, False]
    assert site.reaches("ann", *targets) == [True, True, False, True, False]
    others = [(site.address(user), 8888) for user in ("ann", "bob", "cara", "dan")]
    for place, user in enumerate(("ann", "bob", "cara", "dan")):
        assert not any(site.reaches(user, *FORBIDDEN)), user
        assert site.reaches(user, API) == [True]
        assert site.reaches(user, *others) == [index == place for index in range(4)], user
        assert (
            site.execute(user, "sh", "-c", "cat /proc/net/if_inet6 2>/dev/null | grep -v ' lo$'")[1] == ""
        ), user
        assert site.ask(site.address(user))["born"]  # the proxy's way in
    assert [state(site, user)["egress"] for user in ("bob", "cara", "dan")] == ["internet", "none", "list"]


def test_a_refusal_comes_at_once(filtered_site: FilteredSite) -> None:
    code, output = filtered_site.execute(
        "bob", "python3", "-c",
        "import socket,time\nt=time.time()\ntry: socket.create_connection(('10.66.0.5',80),20)\n"
        "except OSError as e: print(e.errno, time.time()-t < 10)",
    )  # fmt: skip
    assert (code, output.split()[1]) == (0, "True"), output


def test_rules_come_back_after_docker_and_after_somebody_swept(filtered_site: FilteredSite) -> None:
    site = filtered_site
    before = site.filter("-S")
    site.stop_docker()
    site.filter("-F", "DOCKER-USER")
    site.filter("-F", "INPUT")
    site.start_docker()
    wait_for("the hooks", lambda: "PTH-" in site.filter("-S", "INPUT"), 20 * INTERVAL)
    wait_for("the hooks", lambda: "PTH-" in site.filter("-S", "DOCKER-USER"), 20 * INTERVAL)
    assert not any(site.reaches("bob", *FORBIDDEN)) and all(site.reaches("bob", API, (PUBLIC, 80)))
    site.filter("-I", "INPUT", "1", "-j", "ACCEPT")
    site.filter("-F", f"PTH-{site.hub_id}-NET")
    wait_for("the rules", lambda: "-NET -d 169.254" in site.filter("-S"), 20 * INTERVAL)
    wait_for("the place", lambda: "PTH-" in site.filter("-S", "INPUT").splitlines()[1], 20 * INTERVAL)
    site.filter("-D", "INPUT", "-j", "ACCEPT")
    # An engine may put rules before its own call of DOCKER-USER; then the filter stands in FORWARD too.
    forward = site.filter("-S", "FORWARD").splitlines()[1]
    assert forward in ("-A FORWARD -j DOCKER-USER", f"-A FORWARD -s {POOL} -j PTH-{site.hub_id}-FWD")

    def mine(listing: str) -> list[str]:
        return sorted(
            line for line in listing.splitlines() if site.hub_id in line and " FORWARD " not in line
        )

    assert mine(site.filter("-S")) == mine(before)
    assert not any(site.reaches("bob", *FORBIDDEN)) and all(site.reaches("bob", API, (PUBLIC, 80)))


def test_a_killed_helper_leaves_the_rules_and_no_start_goes_around_it(filtered_site: FilteredSite) -> None:
    site = filtered_site
    site.kill_helper()
    assert not any(site.reaches("bob", *FORBIDDEN)) and all(site.reaches("bob", API, (PUBLIC, 80)))
    site.api("POST", "/users/fay")
    refused = site.api("POST", "/users/fay/server")
    assert refused.status_code == 503 and "was not started" in refused.json()["message"]
    assert site.container("fay") == {}
    site.start_helper()  # knows by itself what it was told before
    assert site.reaches("bob", (PUBLIC, 80), (METADATA, 80)) == [True, False]
    assert site.reaches("cara", (PUBLIC, 80)) == [False]
    start(site, "fay")
    site.kill_hub()
    site.start_hub()  # says once what runs
    wait_for("the new hub's word", lambda: "was not told" not in site.log() and site.ready("fay"))
    assert site.reaches("fay", (PUBLIC, 80), (METADATA, 80)) == [True, False]


def test_the_helper_takes_no_more_than_it_should(filtered_site: FilteredSite) -> None:
    site = filtered_site
    path = str(socket_path(site.hub_id))
    assert os.stat(path).st_mode & 0o777 == 0o600
    before = site.filter("-S")

    def send(data: bytes) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(20)
            link.connect(path)
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
            return dict(json.loads(link.makefile().readline()))

    bad = {"subnet": "0.0.0.0/0", "policy": "internet"}
    for data in (
        b"\n", b"[]\n", b"{}\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"op":"sh"}\n',
        b"x" * 9_000_000 + b"\n",
        json.dumps({"op": "apply", "workspaces": [bad]}).encode() + b"\n",
        json.dumps({"op": "apply", "workspaces": [], "allow": ["0.0.0.0/0"]}).encode() + b"\n",
    ):  # fmt: skip
        assert send(data)["ok"] is False, data[:80]
    assert send(b'{"op": "status"}\n')["ok"] is True
    assert site.filter("-S") == before
    script = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3"]
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr, done.stderr


def test_what_people_choose_is_bounded_and_lasts(filtered_site: FilteredSite) -> None:
    site = filtered_site
    site.api("POST", "/users/gus")
    for options, words in (
        ({"cpu": 8}, "1 CPUs"), ({"memory": "1G"}, "192M"), ({"pids": 9999}, "96 processes"),
        ({"image": "debian:bookworm-slim"}, "not one that may be chosen"),
        ({"privileged": True}, "no option"),
        ({"cpu": "1"}, "cpu must be"), ({"egress": "all"}, "egress must be"),
    ):  # fmt: skip
        refused = site.api("POST", "/users/gus/server", **options)
        assert refused.status_code == 422 and words in refused.json()["message"], refused.text
    assert site.container("gus") == {}
    start(site, "gus", cpu=0.2, memory="160M", pids=50, egress="none")

    def given() -> tuple[int, int, int, int]:
        host = site.container("gus")["HostConfig"]
        return host["NanoCpus"], host["Memory"], host["MemorySwap"], host["PidsLimit"]

    assert given() == (200_000_000, 160 << 20, 160 << 20, 50)
    assert site.api("DELETE", "/users/gus/server").status_code in (202, 204)
    wait_for("the end", lambda: site.container("gus") == {})
    refused = site.api("POST", "/users/gus/server", cpu=99)
    assert refused.status_code == 422
    site.kill_hub()
    site.start_hub()
    start(site, "gus")  # says nothing, and gets what it had
    assert given() == (200_000_000, 160 << 20, 160 << 20, 50)
    assert site.reaches("gus", (PUBLIC, 80), API) == [False, True]


def test_each_limit_is_hit_and_the_rest_goes_on(filtered_site: FilteredSite) -> None:
    site = filtered_site
    code, output = site.execute(
        "gus", "python3", "-c",
        "import os,time\nn=0\ntry:\n while True:\n  if os.fork()==0: time.sleep(2); os._exit(0)\n  n+=1\n"
        "except OSError: print(n)",
    )  # fmt: skip
    assert code == 0 and int(output.split()[-1]) < 50
    code, _ = site.execute("gus", "python3", "-c", "x=[]\nwhile True: x.append(bytearray(b'x'*(1<<20)))")
    assert code == 137
    code, output = site.execute(
        "gus", "python3", "-c", "x=[]\ntry:\n while True: x.append(open('/'.join(['','dev','null'])))\n"
        "except OSError as e: print(e.errno, len(x))",
    )  # fmt: skip
    errno, count = map(int, output.split())
    assert errno == 24 and 280 <= count < 300

    def throttled() -> int:
        stats = site.client().stats(site.container("gus")["Id"], stream=False)
        return int(stats["cpu_stats"]["throttling_data"]["throttled_periods"])

    before = throttled()
    burn = "import time\nt=time.time()\nwhile time.time()-t<2: pass\nprint(time.process_time())"
    code, output = site.execute("gus", "python3", "-c", burn)
    assert code == 0 and float(output) < 1.0  # of two seconds; 0.4 by right
    assert throttled() > before
    for user in ("ann", "bob", "gus"):
        assert site.ask(site.address(user))["born"]
    assert site.api("GET", "/info").ok


def test_bandwidth_is_limited_both_ways(filtered_site: FilteredSite) -> None:
    site = filtered_site
    size = 2_000_000

    def seconds(user: str, word: str) -> float:
        script = (
            "import socket,time\n"
            f"s=socket.create_connection(('{PUBLIC}',80)); t=time.time()\n"
            f"s.sendall(b'{word} {size}\\n' + (bytes({size}) if '{word}'=='take' else b''))\n"
            "n=0\nwhile d:=s.recv(65536): n+=len(d)\nprint(time.time()-t, n)"
        )
        code, output = site.execute(user, "python3", "-c", script)
        assert code == 0 and int(output.split()[1]) == (size if word == "send" else 5), output
        return float(output.split()[0])

    free = {word: seconds("bob", word) for word in ("send", "take")}
    site.restart_hub(network_bandwidth="8M")
    start(site, "hal")
    limited = {word: seconds("hal", word) for word in ("send", "take")}
    for word in ("send", "take"):  # 16 Mbit at 8 Mbit/s
        assert limited[word] > 1.2, limited
        assert free[word] < limited[word]
    assert (
        "pthi" in subprocess.run(site.enter("ip", "link"), capture_output=True, text=True, check=True).stdout
    )
    assert site.api("DELETE", "/users/hal/server").status_code in (202, 204)
    wait_for("the end", lambda: site.container("hal") == {})
    start(site, "ida")  # the next word to the helper clears up after hal
    links = subprocess.run(site.enter("ip", "link"), capture_output=True, text=True, check=True).stdout
    assert links.count("pthi") == 1


def test_a_runtime_that_is_not_there_is_named(filtered_site: FilteredSite) -> None:
    site = filtered_site
    site.restart_hub(runtime="runsc")
    site.api("POST", "/users/jan")
    refused = site.api("POST", "/users/jan/server")
    assert refused.status_code == 503 and "'runsc'" in refused.json()["message"]
    assert "runc" in refused.json()["message"].replace("'runsc'", "")


def test_removal_leaves_nothing(filtered_site: FilteredSite) -> None:
    site = filtered_site
    assert site.helper is not None
    site.helper.send_signal(signal.SIGTERM)
    assert site.helper.wait(10) == 0
    time.sleep(0.1)
    assert "PTH-" in site.filter("-S")  # an end alone takes nothing away
    assert "are gone" in site.remove_rules()
    assert "PTH-" not in site.filter("-S")
    assert not socket_path(site.hub_id).exists()
