#!/usr/bin/env python3
"""A storm of alerts: thousands of different ones at once, in one group or in many, and what telling them costs.

    benches/storm.py target/release/watchkeeper --alerts 5000 --groups 1000 --to smtp
    benches/storm.py target/release/watchkeeper --alerts 5000 --groups 1 --to outbox --end term

Everything runs on 127.0.0.1 and ends by itself: an exporter whose series begin to burn, a mail server that takes at most
five connections, and the server under test in a temporary folder. --end term|kill ends the server amid the storm (after the
first tenth of the mails), says how long that took, starts it again, and counts what was lost or told twice.
"""

import argparse
import asyncio
import collections
import email
import email.policy
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

CONNECTIONS = 5


class Exporter:
    """Serves /metrics: `storm{i, g}` for each alert, 0 until it burns."""

    def __init__(self, alerts, groups):
        self.alerts, self.groups, self.burning = alerts, groups, 0

    async def handle(self, reader, writer):
        try:
            while (await reader.readline()).strip():
                pass
            lines = [f'storm{{i="{i:05}",g="{i % self.groups:04}"}} {self.burning}\n' for i in range(self.alerts)]
            body = ("# TYPE storm gauge\n" + "".join(lines)).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        finally:
            writer.close()


class MailServer:
    """Takes mails; refuses connections beyond the fifth."""

    def __init__(self, pause):
        self.pause, self.open, self.refused, self.mails = pause, 0, 0, []

    async def handle(self, reader, writer):
        self.open += 1
        try:
            if self.open > CONNECTIONS:
                self.refused += 1
                writer.write(b"421 too many connections\r\n")
                return
            writer.write(b"220 storm\r\n")
            while line := await reader.readline():
                word = line[:4].upper().strip()
                if word == b"EHLO":
                    writer.write(b"250-storm\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n")
                elif word == b"DATA":
                    writer.write(b"354 go\r\n")
                    data = []
                    while (piece := await reader.readline()) not in (b".\r\n", b""):
                        data.append(piece)
                    await asyncio.sleep(self.pause)
                    self.mails.append((time.time(), b"".join(data)))
                    writer.write(b"250 queued\r\n")
                elif word == b"QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                else:
                    writer.write(b"250 ok\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()


def told(data):
    """Message-Id, size, and which alerts a mail names or counts."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    text = message.get_body(("plain",)).get_content()
    return message["Message-Id"], len(data), set(re.findall(r"\bi=(\d{5})", text))


def http(url, data=None):
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=10) as answer:
        return answer.read()


class Server:
    def __init__(self, binary, folder, port):
        self.binary, self.folder, self.port = binary, folder, port
        self.base = f"http://127.0.0.1:{port}"

    def start(self):
        log = open(f"{self.folder}/log", "ab")
        command = [self.binary, "serve", "--config", f"{self.folder}/w.yml", "--data-dir", f"{self.folder}/data", "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)

    async def ready(self):
        for _ in range(600):
            try:
                await asyncio.to_thread(http, self.base + "/-/ready")
                return
            except OSError:
                await asyncio.sleep(0.05)
        sys.exit("the server did not become ready; see its log:\n" + open(f"{self.folder}/log").read()[-3000:])

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name):
        return int(re.search(rf"{name}:\s+(\d+)", open(f"/proc/{self.process.pid}/status").read())[1]) / 1024

    async def metric(self, name):
        page = (await asyncio.to_thread(http, self.base + "/metrics")).decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name)}

    async def history(self):
        answer = await asyncio.to_thread(http, self.base + "/api/watchkeeper/v1/notifications")
        return json.loads(answer)["data"]["entries"]


def configure(folder, exporter_port, mail_port, args):
    smarthost = f"127.0.0.1:{mail_port}" if args.to == "smtp" else "outbox"
    open(f"{folder}/w.yml", "w").write(f"""
global: {{scrape_interval: 1s, evaluation_interval: {args.interval}s}}
scrape_configs:
- job_name: storm
  static_configs: [{{targets: ['127.0.0.1:{exporter_port}']}}]
rule_files: [r.yml]
web: {{external_url: 'http://watch.example.org'}}
alertmanager:
  global: {{smtp_smarthost: '{smarthost}', smtp_from: w@example.org, smtp_require_tls: false}}
  route: {{receiver: ops, group_by: [g], group_wait: 1s, group_interval: 1m, repeat_interval: 4h}}
  receivers: [{{name: ops, email_configs: [{{to: ops@example.org, send_resolved: true}}]}}]
""".replace("group_by: [g]", "group_by: [alertname]" if args.groups == 1 else "group_by: [g]"))
    open(f"{folder}/r.yml", "w").write("""
groups:
- name: storm
  rules:
  - {alert: Storm, expr: storm > 0, annotations: {summary: 'number {{ $labels.i }} burns'}}
- name: calm
  rules:
  - {record: calm, expr: vector(1)}
""")


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--alerts", type=int, default=5000)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--to", choices=["smtp", "outbox"], default="smtp")
    parser.add_argument("--end", choices=["none", "term", "kill"], default="none")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that the mail server thinks about each mail")
    parser.add_argument("--interval", type=int, default=2, help="seconds between evaluations")
    parser.add_argument("--limit", type=float, default=180, help="seconds after which to give up")
    parser.add_argument("--port", type=int, default=19393)
    args = parser.parse_args()
    args.binary = os.path.abspath(args.binary)
    exporter, mail = Exporter(args.alerts, args.groups), MailServer(args.pause)
    http_side = await asyncio.start_server(exporter.handle, "127.0.0.1", 0)
    mail_side = await asyncio.start_server(mail.handle, "127.0.0.1", 0, limit=1 << 24)
    ports = [side.sockets[0].getsockname()[1] for side in (http_side, mail_side)]
    with tempfile.TemporaryDirectory() as folder:
        configure(folder, *ports, args)
        server = Server(args.binary, folder, args.port)
        server.start()
        try:
            await server.ready()
            await asyncio.sleep(5)
            await storm(args, exporter, mail, server)
        finally:
            server.process.kill()
            server.process.wait()


async def count(args, mail, server):
    """How many groups were told."""
    if args.to == "smtp":
        return len(mail.mails)
    return sum(1 for name in os.listdir(f"{server.folder}/data/outbox") if name.endswith(".eml")) if os.path.isdir(f"{server.folder}/data/outbox") else 0


async def storm(args, exporter, mail, server):
    cpu, memory = server.cpu(), server.memory("VmRSS")
    exporter.burning, began = 1, time.time()
    first = None
    enough = args.groups if args.end == "none" else max(1, args.groups // 10)
    while await count(args, mail, server) < enough and time.time() - began < args.limit:
        first = first or (time.time() if await count(args, mail, server) else None)
        await asyncio.sleep(0.05)
    took = time.time() - began
    if args.end != "none":
        at = time.time()
        server.process.send_signal(signal.SIGTERM if args.end == "term" else signal.SIGKILL)
        await asyncio.to_thread(server.process.wait)
        print(f"ended by {args.end} with {await count(args, mail, server)} of {args.groups} groups told: {time.time() - at:.2f} s, exit code {server.process.returncode}")
        at = time.time()
        server.start()
        await server.ready()
        while time.time() - at < args.limit:
            done = await asyncio.to_thread(finished, args, mail, server)
            if done:
                break
            await asyncio.sleep(0.2)
        print(f"all told {time.time() - at:.1f} s after the start")
        await asyncio.sleep(2)
    else:
        print(f"{args.alerts} alerts in {args.groups} groups to {args.to}: all told after {took:.1f} s ({args.alerts / took:.0f} alerts/s), "
              f"from the first mail on {time.time() - (first or time.time()):.1f} s")
        print(f"processor: {server.cpu() - cpu:.2f} s; resident: {server.memory('VmHWM') - memory:.0f} MiB more at most, {server.memory('VmRSS'):.0f} MiB now")
    missed = await server.metric("watchkeeper_rule_group_iterations_missed_total")
    durations = await server.metric("watchkeeper_rule_group_last_duration_seconds")
    print("evaluations missed:", sum(missed.values()), "; last durations:", sorted(round(value, 3) for value in durations.values())[-2:])
    report(args, mail, server)
    states = collections.Counter(entry["state"] for entry in await server.history())
    print("history:", dict(states), "; refused connections:", mail.refused)


def mails(args, mail, server):
    if args.to == "smtp":
        return [data for _, data in mail.mails]
    folder = f"{server.folder}/data/outbox"
    return [open(f"{folder}/{name}", "rb").read() for name in os.listdir(folder) if name.endswith(".eml")]


def finished(args, mail, server):
    ids = {re.search(rb"(?im)^message-id: (.*?)\r?$", data)[1] for data in mails(args, mail, server)}
    return len(ids) >= args.groups


def report(args, mail, server):
    by_id, named, largest = collections.Counter(), collections.Counter(), 0
    for data in mails(args, mail, server):
        message_id, size, alerts = told(data)
        by_id[message_id] += 1
        largest = max(largest, size)
        if by_id[message_id] == 1:
            named.update(alerts)
    leftovers = [name for name in os.listdir(f"{server.folder}/data/outbox") if name.endswith(".tmp")] if os.path.isdir(f"{server.folder}/data/outbox") else []
    print(f"messages: {len(by_id)}, the same message again: {sum(by_id.values()) - len(by_id)}; largest {largest} bytes; "
          f"alerts named: {len(named)}, named in two messages: {sum(1 for times in named.values() if times > 1)}; leftovers: {len(leftovers)}")


if __name__ == "__main__":
    asyncio.run(main())
