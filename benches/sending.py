#!/usr/bin/env python3
"""Remote write out: CPU and memory of the whole process that scrapes and sends, with and without sending.

    sending.py SYSTEM MODES TARGETS WARM_S WINDOW_S
    sending.py watchkeeper none,v1,v2,away 240 15 25

SYSTEM is watchkeeper or prometheus; a mode is none (nothing is sent), v1, v2, or away (nobody receives). The receiver reads
bodies and takes them. WATCHKEEPER_BIN, PROMETHEUS_BIN and FLEET_BIN name the programs.
"""
import asyncio, os, re, shutil, subprocess, sys, tempfile, time, urllib.request

SINK, EXPORTERS, SYSTEM = 19801, 19700, 19900
WRITTEN = "".join(f"X-Prometheus-Remote-Write-{kind}-Written: 99999\r\n" for kind in ("Samples", "Histograms", "Exemplars"))


async def take(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(re.search(rb"content-length: *(\d+)", head)[1])
            await reader.readexactly(length)
            writer.write(f"HTTP/1.1 204 No Content\r\n{WRITTEN}\r\n".encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass


async def sink():
    server = await asyncio.start_server(take, "127.0.0.1", SINK, limit=1 << 22)
    await server.serve_forever()


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def anonymous_mb(pid):
    return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) // 1024


def metrics(prefix):
    text = urllib.request.urlopen(f"http://127.0.0.1:{SYSTEM}/metrics").read().decode()
    names = ["remote_storage_samples_total", "tsdb_head_samples_appended_total", "remote_storage_bytes_total"]
    values = [sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{prefix}_{name}[{{ ]", line)) for name in names]
    return values


def measure(system, mode, targets, warm, window, folder):
    config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n" + "".join(
        f"- job_name: j{i}\n  metrics_path: /t/{i}/metrics\n  static_configs: [{{targets: ['127.0.0.1:{EXPORTERS}']}}]\n" for i in range(targets))
    if mode != "none":
        message = "io.prometheus.write.v2.Request" if mode == "v2" else "prometheus.WriteRequest"
        config += f"remote_write: [{{url: 'http://127.0.0.1:{SINK}/api/v1/write', protobuf_message: {message}}}]\n"
    os.makedirs(folder)
    with open(f"{folder}/config.yml", "w") as out:
        out.write(config)
    if system == "prometheus":
        command = [os.environ["PROMETHEUS_BIN"], f"--config.file={folder}/config.yml", f"--storage.tsdb.path={folder}/data",
                   f"--web.listen-address=127.0.0.1:{SYSTEM}"]
    else:
        command = [os.environ["WATCHKEEPER_BIN"], "serve", "--config", f"{folder}/config.yml", "--data-dir", f"{folder}/data",
                   "--listen", f"127.0.0.1:{SYSTEM}"]
    process = subprocess.Popen(command, stdout=open(f"{folder}/log", "w"), stderr=subprocess.STDOUT)
    try:
        time.sleep(warm)
        before, cpu_before, began = metrics(system), cpu(process.pid), time.time()
        time.sleep(window)
        used, took = cpu(process.pid) - cpu_before, time.time() - began
        sent, appended, octets = (b - a for a, b in zip(before, metrics(system)))
        print(f"{system} {mode}: {appended / took:.0f} samples/s taken, {sent / took:.0f} sent, {used / max(appended, 1) * 1e6:.3f} CPU-s a million, "
              f"{octets / max(sent, 1):.1f} bytes a sample, {anonymous_mb(process.pid)} MB anonymous", flush=True)
    finally:
        process.terminate()
        process.wait(60)


def main():
    if sys.argv[1:] == ["sink"]:
        return asyncio.run(sink())
    system, modes, targets, warm, window = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
    work = tempfile.mkdtemp(prefix="sending-")
    fleet = subprocess.Popen([os.environ["FLEET_BIN"], "serve", "--listen", f"127.0.0.1:{EXPORTERS}", "--targets", str(targets)],
                             stdout=subprocess.DEVNULL)
    try:
        for mode in modes:
            receiver = subprocess.Popen([sys.executable, __file__, "sink"]) if mode in ("v1", "v2") else None
            try:
                measure(system, mode, targets, warm, window, f"{work}/{system}-{mode}")
            finally:
                if receiver:
                    receiver.kill()
                    receiver.wait()
    finally:
        fleet.kill()
        fleet.wait()
        shutil.rmtree(work)


main()
