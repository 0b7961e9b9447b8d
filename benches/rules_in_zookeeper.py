#!/usr/bin/env python3
"""How soon a rule in ZooKeeper is active: one znode changed many times, and 200 files pushed in one go.

    benches/rules_in_zookeeper.py target/release/watchkeeper
    benches/rules_in_zookeeper.py target/release/watchkeeper --changes 500 --files 200
    benches/rules_in_zookeeper.py target/release/watchkeeper --zookeeper zk1:2181

Without --zookeeper it starts one of its own (Debian's package) on 127.0.0.1. The time of a change runs from before the write is sent until
the API shows the new expression, asked over one connection again and again; so it has ZooKeeper's write, its watch and one request in it.
The time of a push runs from the moment at which `rules push` has its answer; the whole command is told beside it.
"""

import argparse
import http.client
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time

JAVA = "/usr/share/java"
JARS = ":".join(f"{JAVA}/{name}.jar" for name in ["zookeeper", "slf4j-simple", "commons-cli", "jline3", "jline2"])
ROOT = "/watchkeeper"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Client:
    """As much of ZooKeeper's protocol as a writer needs."""

    CREATE, DELETE, SET = 1, 2, 5

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.xid = 0
        self.send(struct.pack(">iqiq", 0, 0, 30000, 0) + struct.pack(">i", 16) + bytes(16))
        self.receive()

    def send(self, body):
        self.socket.sendall(struct.pack(">i", len(body)) + body)

    def receive(self):
        def exactly(n):
            data = b""
            while len(data) < n:
                piece = self.socket.recv(n - len(data))
                if not piece:
                    raise ConnectionError("ZooKeeper hung up")
                data += piece
            return data

        return exactly(struct.unpack(">i", exactly(4))[0])

    def request(self, kind, body):
        self.xid += 1
        self.send(struct.pack(">ii", self.xid, kind) + body)
        answer = self.receive()
        return struct.unpack(">iqi", answer[:16])[2]

    @staticmethod
    def text(value):
        data = value if isinstance(value, bytes) else value.encode()
        return struct.pack(">i", len(data)) + data

    def put(self, path, data):
        error = self.request(self.SET, self.text(path) + self.text(data) + struct.pack(">i", -1))
        if error == -101:
            acl = struct.pack(">ii", 1, 31) + self.text("world") + self.text("anyone")
            error = self.request(self.CREATE, self.text(path) + self.text(data) + acl + struct.pack(">i", 0))
        if error:
            raise RuntimeError(f"ZooKeeper's error {error} for {path}")


    def delete(self, path):
        self.request(self.DELETE, self.text(path) + struct.pack(">i", -1))


class World:
    def __init__(self, args):
        self.args, self.processes = args, []
        self.folder = tempfile.TemporaryDirectory()

    def __enter__(self):
        try:
            return self.begin()
        except BaseException:
            self.__exit__()
            raise

    def begin(self):
        self.zookeeper = self.args.zookeeper or self.start_zookeeper()
        port = free_port()
        self.write("w.yml", f"zookeeper: {{connect: '{self.zookeeper}', session_timeout: 10s}}\nglobal: {{evaluation_interval: 15s}}\n")
        command = [self.args.binary, "serve", "--config", "w.yml", "--data-dir", "data", "--listen", f"127.0.0.1:{port}"]
        self.start(command, "watchkeeper.log")
        self.connection = None
        self.address = ("127.0.0.1", port)
        self.until("the session", lambda: self.get("/api/watchkeeper/v1/zookeeper")["state"] == "live", 30, 0.05)
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.folder.cleanup()

    def path(self, name):
        return f"{self.folder.name}/{name}"

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w") as f:
            f.write(text)

    def start(self, command, log):
        out = open(self.path(log), "ab")
        self.processes.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=self.folder.name))

    def start_zookeeper(self):
        port = free_port()
        self.write("zoo.cfg", f"tickTime=1000\ndataDir={self.path('zookeeper')}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n")
        self.start(["java", "-Xmx128m", "-cp", JARS, "org.apache.zookeeper.server.ZooKeeperServerMain", "zoo.cfg"], "zookeeper.log")

        def serves():
            Client(f"127.0.0.1:{port}").socket.close()
            return True

        self.until("ZooKeeper", serves, 30, 0.1)
        return f"127.0.0.1:{port}"

    def until(self, what, look, limit=20, pause=0.0):
        end = time.perf_counter() + limit
        while True:
            try:
                if look():
                    return time.perf_counter()
            # Not there yet, or no answer of the API's yet.
            except (OSError, http.client.HTTPException, struct.error, ValueError, KeyError):
                self.connection = None
            if time.perf_counter() > end:
                sys.exit(f"waited {limit} s in vain for {what}; look into the logs: {os.listdir(self.folder.name)}")
            time.sleep(pause)

    def get(self, path):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=10)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.request("GET", path)
        return json.loads(self.connection.getresponse().read())["data"]

    def queries(self):
        return {rule["query"] for group in self.get("/api/v1/rules")["groups"] for rule in group["rules"]}


def rule(name, expression):
    return f"groups:\n- name: {name}\n  rules:\n  - record: {name}\n    expr: {expression}\n"


def percentile(times, share):
    times = sorted(times)
    return times[min(len(times) - 1, int(share * len(times)))]


def changes(world, count):
    client = Client(world.zookeeper)
    times, writes = [], []
    for number in range(count + 10):
        # Not in step with anything.
        time.sleep(random.uniform(0.02, 0.08))
        expression = f"vector({number})"
        began = time.perf_counter()
        client.put(f"{ROOT}/rules/one.yml", rule("one", expression))
        written = time.perf_counter()
        active = world.until(expression, lambda: expression in world.queries())
        if number >= 10:
            times.append(active - began)
            writes.append(written - began)
    # Not in the folder that is pushed next.
    client.delete(f"{ROOT}/rules/one.yml")
    print(
        f"changed -> active, {count} changes: p50 {percentile(times, 0.5) * 1000:.1f} ms, p99 {percentile(times, 0.99) * 1000:.1f} ms, "
        f"worst {max(times) * 1000:.1f} ms (goal 30 / 100 ms); of it the write p50 {percentile(writes, 0.5) * 1000:.1f} ms, p99 {percentile(writes, 0.99) * 1000:.1f} ms"
    )


def pushes(world, count):
    for turn in range(3):
        expected = {f"vector({turn * 1000 + number})" for number in range(count)}
        for number in range(count):
            world.write(f"rules/{number:03}.yml", rule(f"r{number:03}", f"vector({turn * 1000 + number})"))
        began = time.perf_counter()
        command = [world.args.binary, "rules", "push", "--zookeeper", world.zookeeper, "-m", f"turn {turn}"]
        done = subprocess.run(command, cwd=world.folder.name, capture_output=True, text=True)
        pushed = time.perf_counter()
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        active = world.until("all files", lambda: expected <= world.queries())
        print(
            f"{count} files in one push, {'new' if turn == 0 else 'changed'}: all active {active - pushed:.3f} s after the answer (goal 1 s), "
            f"{active - began:.3f} s after the command was begun"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--zookeeper", help="HOST:PORT of one that runs already")
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--files", type=int, default=200)
    args = parser.parse_args()
    args.binary = os.path.abspath(args.binary)
    with World(args) as world:
        changes(world, args.changes)
        pushes(world, args.files)


if __name__ == "__main__":
    main()
