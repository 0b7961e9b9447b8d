#!/usr/bin/env python3
"""Kills the real server, or cuts its disk's power, at random moments while samples are pushed; counts what was lost.

    tests/soak_kill.py [--binary target/release/watchkeeper] [--kills 200] [--power-cuts 50] [--seed 1]

Every round: start, check that what was acknowledged is there with its value (the newest, every twentieth round and at the
end all of it), push from four senders, some samples late, kill. A power cut is an ext4 image on a loop device that is shut
down without flushing its journal (FS_IOC_SHUTDOWN, needs root): what was not synced is gone, as with a real one. Exits
with 1 when a sample was lost."""

import argparse, fcntl, json, os, random, signal, socket, struct, subprocess, sys, tempfile, threading, time
import http.client, urllib.parse

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
SENDERS, SERIES = 4, 25


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def write_request(rows):
    """rows: (labels, milliseconds, value); as snappy that holds literals alone."""
    message = b""
    for labels, at_ms, value in rows:
        pairs = b"".join(field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in sorted(labels.items()))
        sample = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(at_ms & (1 << 64) - 1)
        message += field(1, pairs + field(2, sample))
    out = varint(len(message))
    for at in range(0, len(message), 60):
        part = message[at : at + 60]
        out += bytes([(len(part) - 1) << 2]) + part
    return out


class Server:
    def __init__(self, binary, data, log):
        self.binary, self.data, self.log = binary, data, log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self):
        command = [self.binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=os.path.dirname(self.log.name))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}; see {self.log.name}")
            try:
                if self.get("/-/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit("the server did not become ready")

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Sender(threading.Thread):
    """Pushes until the server is gone; notes what was acknowledged."""

    def __init__(self, server, number, acknowledged, offered, clock, seed):
        super().__init__(daemon=True)
        self.server, self.number, self.acknowledged, self.offered = server, number, acknowledged, offered
        self.clock, self.chance, self.stop = clock, random.Random(seed), False

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                   "X-Prometheus-Remote-Write-Version": "0.1.0"}
        while not self.stop:
            at_ms = self.clock[self.number] = max(self.clock[self.number] + 1, int(time.time() * 1000))
            rows, keys = [], []
            for place in range(SERIES):
                # Some series are late now and then; each time is used once.
                late = place % 5 == 4 and self.chance.random() < 0.3
                moment = at_ms - (3_600_000 if late else 0)
                value = float(self.chance.randrange(1 << 40)) / 8
                series = (self.number, place)
                labels = {"__name__": "soak", "job": "soak", "instance": str(self.number), "place": str(place)}
                rows.append((labels, moment, value))
                keys.append(((series, moment), value))
            self.offered.update(keys)
            try:
                connection.request("POST", "/api/v1/write", write_request(rows), headers)
                answer = connection.getresponse()
                words = answer.read()
                if answer.status in (200, 204):
                    self.acknowledged.update(keys)
                elif answer.status != 503:
                    print(f"unexpected answer {answer.status}: {words[:200]!r}", file=sys.stderr)
            except (OSError, http.client.HTTPException):
                return


def found_samples(server, span):
    found = {}
    for sender in range(SENDERS):
        query = urllib.parse.quote(f'soak{{instance="{sender}"}}[{span}]')
        status, body = server.get(f"/api/v1/query?query={query}")
        if status != 200:
            raise SystemExit(f"query answered {status}: {body[:300]!r}")
        for series in json.loads(body)["data"]["result"]:
            place = int(series["metric"]["place"])
            for at, value in series["values"]:
                found[((sender, place), round(float(at) * 1000))] = float(value)
    return found


def check(server, acknowledged, offered, whole, context):
    """Compares everything, or (mostly, as everything grows) the newest two minutes."""
    newest = max((key[1] for key in acknowledged), default=0)
    found = found_samples(server, "3h" if whole else "2m")
    since = newest - (6_000_000 if whole else 60_000)
    lost = [key for key, value in acknowledged.items() if key[1] > since and found.get(key) != value]
    invented = [key for key, value in found.items() if offered.get(key) != value]
    if lost or invented:
        print(f"{context}: {len(lost)} lost, {len(invented)} invented, for example {(lost + invented)[:3]}", file=sys.stderr)
    return len(lost), len(invented)


def sh(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Image:
    """An ext4 file system whose power can be cut."""

    def __init__(self, scratch):
        self.image, self.mount_point = os.path.join(scratch, "disk.img"), os.path.join(scratch, "mnt")
        os.mkdir(self.mount_point)
        sh("truncate", "-s", "512M", self.image)
        sh("mkfs.ext4", "-q", "-F", self.image)
        self.mount()

    def mount(self):
        sh("mount", "-o", "loop", self.image, self.mount_point)

    def cut(self):
        folder = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def unmount(self):
        for _ in range(100):
            if subprocess.run(["umount", self.mount_point], stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.05)
        raise SystemExit("the image stays busy")


def soak(arguments, rounds, power):
    chance = random.Random(arguments.seed)
    acknowledged, offered, clock = {}, {}, [0] * SENDERS
    lost = invented = 0
    with tempfile.TemporaryDirectory() as scratch, open(os.path.join(scratch, "log"), "ab") as log:
        image = Image(scratch) if power else None
        data = os.path.join(image.mount_point if image else scratch, "data")
        server = Server(os.path.abspath(arguments.binary), data, log)
        try:
            for number in range(rounds + 1):
                server.start()
                whole = number % 20 == 0 or number == rounds
                result = check(server, acknowledged, offered, whole, f"round {number}")
                lost, invented = lost + result[0], invented + result[1]
                if number == rounds or sum(result):
                    break
                senders = [Sender(server, i, acknowledged, offered, clock, chance.random()) for i in range(SENDERS)]
                for sender in senders:
                    sender.start()
                time.sleep(chance.uniform(0.02, arguments.longest))
                if image:
                    image.cut()
                server.kill()
                for sender in senders:
                    sender.stop = True
                    sender.join()
                if image:
                    image.unmount()
                    image.mount()
        finally:
            if server.process.poll() is None:
                server.kill()
            if image:
                image.unmount()
            if lost or invented:
                print(open(log.name, errors="replace").read()[-4000:], file=sys.stderr)
    what = "power cuts" if power else "kill -9"
    print(f"{rounds} {what}: {len(acknowledged)} samples acknowledged, {lost} lost, {invented} invented")
    return lost + invented


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/watchkeeper")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--power-cuts", type=int, default=50)
    parser.add_argument("--longest", type=float, default=0.5, help="longest life of a server, seconds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    bad = soak(arguments, arguments.kills, False) if arguments.kills else 0
    if arguments.power_cuts:
        if os.geteuid() != 0:
            raise SystemExit("power cuts need root, for the loop device")
        bad += soak(arguments, arguments.power_cuts, True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
