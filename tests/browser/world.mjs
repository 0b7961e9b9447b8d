/// A real server with a small world around it: node_exporter, exporters that can break, a mail server that refuses.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as http } from 'node:http';
import { createServer as tcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/// Nothing may take longer.
const WITHIN = 30_000;

export async function until(what, condition, within = WITHIN) {
  const end = performance.now() + within;
  for (;;) {
    const found = await Promise.resolve(condition()).catch(() => undefined);
    if (found) return found;
    if (performance.now() > end) throw new Error(`not within ${within / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const listen = (server, port = 0) => new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', () => resolve(server.address().port)));

export async function freePort() {
  const server = tcp();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/// Something that is scraped. `body` may be changed; `stop` and `start` make it go away and come back on the same port.
export async function exporter(body) {
  const made = { body };
  const handler = (_, response) => {
    response.setHeader('Content-Type', 'text/plain; version=0.0.4');
    response.end(made.body);
  };
  let server = http(handler);
  made.port = await listen(server);
  made.address = `127.0.0.1:${made.port}`;
  made.stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  made.start = async () => {
    server = http(handler);
    await listen(server, made.port);
  };
  return made;
}

/// A mail server that takes nobody's mail.
export async function refusingMailServer(words) {
  const server = tcp((socket) => {
    socket.on('error', () => undefined);
    socket.write('220 mail.example.org\r\n');
    socket.on('data', (data) => {
      const verb = String(data).slice(0, 4).toUpperCase();
      socket.write(verb === 'EHLO' ? '250 mail.example.org\r\n' : verb === 'QUIT' ? '221 bye\r\n' : `${words}\r\n`);
    });
  });
  const port = await listen(server);
  return { port, stop: () => server.close() };
}

/// A process of ours, whose words are kept for when something goes wrong.
export function program(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const words = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => words.push(String(data)) > 400 && words.shift());
  const ended = new Promise((resolve) => child.on('exit', resolve).on('error', (error) => resolve(words.push(String(error)))));
  return {
    said: () => words.join(''),
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      await ended;
    },
  };
}

export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), 'watchkeeper-browser-'));
  return {
    folder,
    write: (name, text) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/// A server on its own port; it can die and come back.
export async function watchkeeper(binary, folder, config, port) {
  const at = port ?? (await freePort());
  const base = `http://127.0.0.1:${at}`;
  const args = ['serve', '--listen', `127.0.0.1:${at}`, '--data-dir', join(folder, `data-${at}`), ...(config ? ['--config', config] : [])];
  let running;
  const made = {
    base,
    port: at,
    said: () => running.said(),
    start: async () => {
      running = program(binary, args, { cwd: folder });
      await until(`ready: ${running.said()}`, async () => [200, 401].includes((await fetch(`${base}/-/ready`)).status)).catch((error) => {
        throw new Error(`${error.message}\n${running.said()}`);
      });
    },
    stop: (signal) => running.stop(signal),
    /// Asks its API.
    get: async (path) => (await fetch(base + path)).json(),
  };
  await made.start();
  return made;
}
