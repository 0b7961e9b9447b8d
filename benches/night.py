#!/usr/bin/env python3
"""What a night is like: how soon a mail comes, and what a kill -9, a bad recipient, a silent mail server or a broken template costs.

    benches/night.py target/release/watchkeeper
    benches/night.py target/release/watchkeeper --only latency,sent

Each scenario has a server, an exporter and a mail server of its own on 127.0.0.1, says one line, and ends by itself.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import tempfile
import time
import urllib.request

from storm import Server, http


class Exporter:
    """`burn{i="N"}` for each number; says when a value was first handed out."""

    def __init__(self):
        self.values, self.told = {}, {}

    def set(self, i, value):
        self.values[i] = value
        self.told.pop((i, value), None)

    async def handle(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while (await reader.readline()).strip():
                pass
            for item in self.values.items():
                self.told.setdefault(item, time.time())
            body = ("# TYPE burn gauge\n" + "".join(f'burn{{i="{i}"}} {value}\n' for i, value in self.values.items())).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()


class MailServer:
    """Takes mails with the time; refuses bad@..., and says nothing at all while silent."""

    def __init__(self):
        self.silent, self.mails, self.waiting = False, [], []

    async def handle(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            if self.silent:
                await reader.read()
                return writer.close()
            writer.write(b"220 night\r\n")
            to = []
            while line := await reader.readline():
                word = line[:4].upper().strip()
                if word == b"EHLO":
                    writer.write(b"250-night\r\n250 8BITMIME\r\n")
                elif word == b"RCPT" and b"bad@" in line:
                    writer.write(b"550 no such user\r\n")
                elif word == b"RCPT":
                    to.append(line.strip().decode())
                    writer.write(b"250 ok\r\n")
                elif word == b"DATA":
                    writer.write(b"354 go\r\n")
                    data = []
                    while (piece := await reader.readline()) not in (b".\r\n", b""):
                        data.append(piece)
                    if piece:
                        self.mails.append((time.time(), to, b"".join(data).decode(errors="replace")))
                        writer.write(b"250 queued\r\n")
                    to = []
                elif word == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 ok\r\n")
                await writer.drain()
        writer.close()

    def of(self, i, word="FIRING"):
        """Mails about a number, by their time."""
        return [at for at, _, text in self.mails if f"[{word}" in text and f"i={i}" in text.replace("=\r\n", "").replace("=3D", "=")]


class World:
    def __init__(self, args, rule="{alert: Burn, expr: burn > 0}", email="{to: ops@example.org, send_resolved: true}", more=""):
        self.args, self.rule, self.email, self.more = args, rule, email, more

    async def __aenter__(self):
        self.exporter, self.mail = Exporter(), MailServer()
        self.sides = [await asyncio.start_server(side.handle, "127.0.0.1", 0, limit=1 << 24) for side in (self.exporter, self.mail)]
        ports = [side.sockets[0].getsockname()[1] for side in self.sides]
        self.folder = tempfile.TemporaryDirectory()
        open(f"{self.folder.name}/w.yml", "w").write(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs: [{{job_name: night, static_configs: [{{targets: ['127.0.0.1:{ports[0]}']}}]}}]
rule_files: [r.yml]
web: {{external_url: 'http://watch.example.org'}}
{self.more}
alertmanager:
  global: {{smtp_smarthost: '127.0.0.1:{ports[1]}', smtp_from: w@example.org, smtp_require_tls: false}}
  route: {{receiver: ops, group_by: [i], group_wait: 1s, group_interval: 2s, repeat_interval: 4h}}
  receivers: [{{name: ops, email_configs: [{self.email}]}}]
""")
        open(f"{self.folder.name}/r.yml", "w").write(f"groups: [{{name: night, rules: [{self.rule}]}}]\n")
        self.server = Server(self.args.binary, self.folder.name, self.args.port)
        self.exporter.set(0, 0)
        await self.start()
        await self.seen(0, 0)
        return self

    async def __aexit__(self, *_):
        self.server.process.kill()
        self.server.process.wait()
        for side in self.sides:
            side.close()
        self.folder.cleanup()

    async def start(self):
        self.server.start()
        await self.server.ready()

    def kill(self):
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait()

    async def until(self, what, limit=60):
        end = time.time() + limit
        while not (found := what()):
            if time.time() > end:
                return None
            await asyncio.sleep(0.01)
        return found

    async def seen(self, i, value):
        return await self.until(lambda: self.exporter.told.get((i, value)))

    async def burn(self, i, value=1):
        """Sets a value; returns when a scrape took it."""
        self.exporter.set(i, value)
        return await self.seen(i, value)


async def latency(args):
    for more, words in (("watch_rule_groups: [night]", "watched"), ("", "in phase")):
        async with World(args, more=more) as world:
            took = []
            for i in range(1, 21):
                await asyncio.sleep(random.uniform(0, 1.3))
                at = await world.burn(i)
                mailed = await world.until(lambda: world.mail.of(i))
                took.append(mailed[0] - at)
            print(f"scrape -> mail accepted, group_wait 1 s, rules {words}: worst of 20 {max(took):.2f} s, median {sorted(took)[10]:.2f} s")


async def sent(args):
    again = 0
    for round in range(5):
        async with World(args) as world:
            await world.burn(1)
            await world.until(lambda: world.mail.of(1))
            await asyncio.sleep(1)
            world.kill()
            await world.start()
            await asyncio.sleep(8)
            again += len(world.mail.of(1)) - 1
    print(f"kill -9 one second after sending: {again} of 5 mailed again")


async def pending(args):
    async with World(args, rule="{alert: Burn, expr: burn > 0, for: 20s}") as world:
        at = await world.burn(1)
        await asyncio.sleep(10)
        world.kill()
        await world.start()
        mailed = await world.until(lambda: world.mail.of(1))
        print(f"kill -9 while pending (for: 20s): mailed {mailed[0] - at - 20:.1f} s after the 20 s were over" if mailed else "kill -9 while pending: NEVER mailed")
    async with World(args, rule="{alert: Burn, expr: burn > 0, for: 15s}") as world:
        await world.burn(1)
        await asyncio.sleep(10)
        world.kill()
        await asyncio.sleep(10)
        began = time.time()
        await world.start()
        mailed = await world.until(lambda: world.mail.of(1))
        print(f"pending over a stop of 10 s (for: 15s): mailed {mailed[0] - began:.1f} s after the start" if mailed else "pending over a stop: NEVER mailed")


async def silence(args):
    kept = 0
    for round in range(5):
        async with World(args) as world:
            body = {"matchers": [{"name": "i", "value": "1", "isRegex": False}], "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "n", "comment": "c"}
            request = urllib.request.Request(world.server.base + "/api/v2/silences", json.dumps(body).encode(), {"Content-Type": "application/json"})
            answer = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=10).read()))
            world.kill()
            await world.start()
            found = json.loads(await asyncio.to_thread(http, world.server.base + "/api/v2/silences"))
            kept += any(one["id"] == answer["silenceID"] and one["status"]["state"] == "active" for one in found)
    print(f"kill -9 right after a silence was acknowledged: {kept} of 5 kept")


async def ends(args):
    async with World(args) as world:
        await world.burn(1)
        await world.until(lambda: world.mail.of(1))
        world.kill()
        world.exporter.set(1, 0)
        began = time.time()
        await world.start()
        mailed = await world.until(lambda: world.mail.of(1, "RESOLVED"), 400)
        print(f"alert ends while down: RESOLVED {mailed[0] - began:.1f} s after the start" if mailed else "alert ends while down: RESOLVED NEVER comes")


async def recipient(args):
    async with World(args, email="{to: 'bad@example.org, good@example.org'}") as world:
        at = await world.burn(1)
        mailed = await world.until(lambda: world.mail.of(1))
        await asyncio.sleep(6)
        entries = (await world.server.history())
        states = {entry["state"]: [one["address"] for one in entry["recipients"] if one["code"] >= 500] for entry in entries}
        print(f"one bad recipient of two: the good one after {mailed[0] - at:.1f} s, {len(world.mail.of(1))} mail; shown: {states}" if mailed else "one bad recipient of two: NEVER")


async def greeting(args):
    async with World(args) as world:
        world.mail.silent = True
        at = await world.burn(1)
        await asyncio.sleep(5)
        world.mail.silent = False
        mailed = await world.until(lambda: world.mail.of(1), 120)
        print(f"a server that never greets, for 5 s: mailed {mailed[0] - at:.1f} s after the scrape, {len(world.mail.of(1))} mail" if mailed else "a server that never greets: NEVER mailed")


async def template(args):
    async with World(args, email="{to: ops@example.org, html: '{{ .Alerts.Nope }}'}") as world:
        await world.burn(1)
        await world.until(lambda: world.mail.mails)
        await asyncio.sleep(16)
        text = world.mail.mails[0][2]
        print(f"broken template: {len(world.mail.mails)} mail in 16 s, with our text: {'i=3D1' in text or 'i=1' in text}, with a note: {'NOTE' in text}")


SCENARIOS = [latency, sent, pending, silence, ends, recipient, greeting, template]


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--only", default="", help="names of scenarios: " + ",".join(one.__name__ for one in SCENARIOS))
    parser.add_argument("--port", type=int, default=19394)
    args = parser.parse_args()
    args.binary = os.path.abspath(args.binary)
    wanted = [name for name in args.only.split(",") if name]
    for scenario in SCENARIOS:
        if not wanted or scenario.__name__ in wanted:
            await scenario(args)


if __name__ == "__main__":
    asyncio.run(main())
