#!/usr/bin/env python3
"""How much memory do hostile exporters cost, and do honest ones notice?

    python3 benches/hostile.py target/release/watchkeeper [SECONDS [KIND,...]]

Starts 33 hostile targets (endless bodies, endless lines, labels of 50 MB, gzip bombs, bodies that dribble or are nothing but comments; protobuf
with millions of buckets, metrics, exemplars, families or a length that only claims) and two honest ones on loopback, lets the binary scrape them every five seconds, and prints its peak
resident memory, what each kind of target shows as its error, and how many scrapes of the honest ones failed.
"""

import gzip, http.server, json, os, signal, socketserver, subprocess, sys, tempfile, threading, time, urllib.parse, urllib.request

MB = 1 << 20
BOMB = gzip.compress(b'# ' + b'x' * (300 * MB), 6)
LABEL = b'a{x="' + b'v' * (50 * MB) + b'"} 1\n'
OPEN = b'a{x="' + b'v' * (50 * MB)
COMMENTS = b''.join(b'# comment %d\n' % n for n in range(3_000_000))
HONEST = b''.join(b'honest_total{n="%d"} %d\n' % (n, n) for n in range(1000))
LARGE = b''.join(b'large_total{n="%d",pad="%s"} %d\n' % (n, b'p' * 200, n) for n in range(20_000))


def varint(number):
    out = b''
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def family(kind, metrics):
    body = field(1, b'm') + bytes([3 << 3, kind]) + metrics
    return varint(len(body)) + body


SPAN = field(12, b'\x08\x00\x10\xc0\x84\x3d')  # a million buckets
PROTOBUF = {
    'buckets': family(4, field(4, field(7, b'\x08\x01' + SPAN + field(13, b'\x02' * (50 * MB))))),
    'classic': family(4, field(4, field(7, field(3, b'') * (25 * MB)))),
    'metrics': family(1, field(4, b'') * (25 * MB)),
    'timed': family(1, field(4, b'\x30\x01') * (12 * MB)),
    'exemplars': family(4, field(4, field(7, b'\x08\x00' + field(12, b'') + field(16, field(3, b'')) * 15_000)) * 800),
    'families': family(1, field(4, b'')) * (5 * MB),
    'claims': varint(1 << 62) + b'x' * (50 * MB),
}


class Exporter(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def whole(self, body, *headers, content_type='text/plain; version=0.0.4'):
        self.send_response(200)
        self.send_header('Content-Type', content_type)
        self.send_header('Content-Length', str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self, piece, pause=0.0):
        self.send_response(200)
        self.send_header('Content-Type', 'text/plain; version=0.0.4')
        self.send_header('Connection', 'close')
        self.end_headers()
        while True:
            self.wfile.write(piece)
            time.sleep(pause)

    def do_GET(self):
        kind = self.path.split('/')[1]
        try:
            if kind == 'endless':
                self.endless(b'a{n="1"} 1\n' * 100_000)
            elif kind == 'line':
                self.endless(b'x' * MB)
            elif kind == 'dribble':
                self.endless(b'# x\n' * 60_000, 0.05)
            elif kind == 'label':
                self.whole(LABEL)
            elif kind == 'open':
                self.whole(OPEN)
            elif kind == 'comments':
                self.whole(COMMENTS)
            elif kind == 'gzip':
                self.whole(BOMB, ('Content-Encoding', 'gzip'))
            elif kind in PROTOBUF:
                media = 'application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited'
                self.whole(PROTOBUF[kind], content_type=media)
            elif kind == 'large':
                self.whole(LARGE)
            else:
                self.whole(HONEST)
        except OSError:
            self.close_connection = True


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


HOSTILE = [kind for kind in ('endless', 'line', 'dribble', 'label', 'open', 'comments', 'gzip') for _ in range(4)][:26]
HOSTILE += PROTOBUF


def main():
    binary, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60
    server = Server(('127.0.0.1', 0), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = '127.0.0.1:%d' % server.server_port
    kinds = sys.argv[3].split(',') if len(sys.argv) > 3 else HOSTILE
    jobs = [('%s-%d' % (kind, n), '/%s/%d' % (kind, n)) for n, kind in enumerate(kinds)]
    jobs += [('honest', '/honest/1'), ('large', '/large/1')]
    with tempfile.TemporaryDirectory() as folder:
        config = 'global: {scrape_interval: 5s, scrape_timeout: 5s, scrape_native_histograms: true}\nscrape_configs:\n'
        for name, path in jobs:
            config += '- {job_name: %s, metrics_path: %s, static_configs: [{targets: ["%s"]}]}\n' % (name, path, address)
        with open(os.path.join(folder, 'w.yml'), 'w') as file:
            file.write(config)
        command = [binary, 'serve', '--config', folder + '/w.yml', '--data-dir', folder + '/data', '--listen', '127.0.0.1:19191']
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            peak, errors = 0, {}
            end = time.time() + seconds
            while time.time() < end:
                time.sleep(1)
                with open('/proc/%d/status' % child.pid) as status:
                    peak = max(peak, *(int(line.split()[1]) for line in status if line.startswith('VmHWM')))
                try:
                    with urllib.request.urlopen('http://127.0.0.1:19191/api/v1/targets?state=active', timeout=5) as answer:
                        targets = json.load(answer)['data']['activeTargets']
                except OSError as error:
                    print('no answer:', error)
                    continue
                for target in targets:
                    if target['lastError']:
                        kind = target['scrapePool'].split('-')[0]
                        errors.setdefault(kind, set()).add(target['lastError'].split(': ')[-1][:90])
            query = 'sum_over_time(up{job=~"honest|large"}[5m]) / count_over_time(up{job=~"honest|large"}[5m])'
            url = 'http://127.0.0.1:19191/api/v1/query?' + urllib.parse.urlencode({'query': query})
            with urllib.request.urlopen(url, timeout=10) as answer:
                for row in json.load(answer)['data']['result']:
                    print('%-8s up in %.0f %% of its scrapes' % (row['metric']['job'], float(row['value'][1]) * 100))
            for kind in sorted(errors):
                print('%-8s' % kind, ' | '.join(sorted(errors[kind])))
            print('peak resident memory: %.0f MB' % (peak / 1024))
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


main()
