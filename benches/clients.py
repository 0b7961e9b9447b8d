#!/usr/bin/env python3
"""Heavy clients at work: do scrapes stay on time, and is a small question still answered quickly?

    benches/clients.py target/release/watchkeeper --history FOLDER [--clients 24] [--targets 100] [--seconds 60]

FOLDER is the data directory of a stopped server with 24 h of the load generator's targets (`benches/bench.sh history`
leaves one); a copy of it is used. The server scrapes so many targets each second while clients ask the benchmark's queries over
that history without the cache, one after the other, and one more asks `up` every 50 ms. Printed: scrapes that were missed
or failed, how long `up` took, what the clients got, and the server's memory. Everything runs on 127.0.0.1.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("WATCHKEEPER_SHARED", HERE.parent.parent / "shared"))


def ask(connection, path, **query):
    connection.request("GET", path + "?" + urllib.parse.urlencode(query))
    answer = connection.getresponse()
    return answer.status, answer.read()


def value(connection, expr):
    status, body = ask(connection, "/api/v1/query", query=expr)
    result = json.loads(body)["data"]["result"] if status == 200 else []
    return float(result[0]["value"][1]) if result else 0.0


def seconds(text):
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def memory(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith(("VmHWM", "RssAnon"))}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("binary")
    options.add_argument("--history", required=True)
    options.add_argument("--end", type=int, help="newest time of the history, seconds since 1970")
    options.add_argument("--clients", type=int, default=24)
    options.add_argument("--targets", type=int, default=100)
    options.add_argument("--seconds", type=int, default=60)
    options = options.parse_args()
    port, fleet_port = 19301, 19302
    fleet = subprocess.Popen(
        [os.environ["FLEET_BIN"], "serve", "--listen", f"127.0.0.1:{fleet_port}", "--targets", str(options.targets)],
        stdout=subprocess.PIPE, text=True)
    fleet.stdout.readline()
    with tempfile.TemporaryDirectory() as scratch:
        data = f"{scratch}/data"
        shutil.copytree(options.history, data)
        config = pathlib.Path(scratch, "watchkeeper.yml")
        targets = [{"targets": [f"127.0.0.1:{fleet_port}"], "labels": {"__metrics_path__": f"/t/{n}/metrics", "instance": f"load-{n}"}}
                   for n in range(options.targets)]
        scrape = {"job_name": "load", "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": targets}
        config.write_text(json.dumps({"scrape_configs": [scrape]}))
        log = open(f"{scratch}/log", "w")
        server = subprocess.Popen([options.binary, "serve", "--config", str(config), "--data-dir", data, "--listen", f"127.0.0.1:{port}"],
                                  stdout=log, stderr=log)
        try:
            measure(options, port, server)
        finally:
            server.terminate()
            server.wait(20)
            fleet.terminate()
            fleet.wait(10)


def measure(options, port, server):
    connect = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    probe, deadline = connect(), time.monotonic() + 30
    while True:
        try:
            if value(probe, 'sum(up{job="load"})') == options.targets:
                break
        except OSError:
            probe = connect()
        if time.monotonic() > deadline:
            sys.exit("the targets did not come up")
        time.sleep(0.2)
    end = options.end or int(value(probe, 'max(timestamp(last_over_time(node_load1{instance!~"load-.*"}[2d])))'))
    queries = json.loads((SHARED / "bench" / "queries.json").read_text())
    stop, lock = threading.Event(), threading.Lock()
    statuses, taken = collections.Counter(), []

    def client(number):
        connection, at = connect(), number
        while not stop.is_set():
            query = queries[at % len(queries)]
            at += 1
            if query["kind"] == "instant":
                path, extra = "/api/v1/query", {"time": end}
            else:
                path, extra = "/api/v1/query_range", {"start": end - seconds(query["range"]), "end": end, "step": query["step"]}
            try:
                status, _ = ask(connection, path, query=query["expr"], nocache=1, **extra)
            except (OSError, http.client.HTTPException) as error:
                status, connection = type(error).__name__, connect()
            with lock:
                statuses[status] += 1

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(options.clients)]
    began = time.time()
    for thread in threads:
        thread.start()
    until = time.monotonic() + options.seconds
    while time.monotonic() < until:
        start = time.perf_counter()
        status, _ = ask(probe, "/api/v1/query", query="up")
        taken.append(time.perf_counter() - start)
        if status != 200:
            statuses[f"up: {status}"] += 1
        time.sleep(max(0.0, 0.05 - taken[-1]))
    held = memory(server.pid)
    stop.set()
    for thread in threads:
        thread.join(60)
    window = int(time.time() - began)
    low = value(probe, f'min(count_over_time(up{{job="load"}}[{window}s]))')
    failed = value(probe, f'sum(count_over_time((up{{job="load"}} == 0)[{window}s:1s]))')
    gap = value(probe, f'{window} - min(count_over_time(up{{job="load"}}[{window}s]))')
    taken.sort()
    at = lambda share: taken[min(len(taken) - 1, int(len(taken) * share))] * 1000
    print(f"{options.clients} clients, {options.targets} targets at 1 s, {window} s: answers {dict(statuses)}")
    print(f"scrapes of the worst target {low:.0f} of {window} (missed {gap:.0f}), failed {failed:.0f}")
    print(f"up: p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, longest {at(1):.1f} ms of {len(taken)}")
    print(f"memory: {held} MiB")


if __name__ == "__main__":
    main()
