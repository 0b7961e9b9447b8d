/// The made-up server's ZooKeeper: the ensemble, and the rule files with their history, which can be changed.
import { createHash } from 'node:crypto';

const MINUTE = 60_000;
const iso = (ms) => new Date(ms).toISOString();
const hash = (text) => createHash('sha256').update(text).digest('hex');

const HOSTS_OLD = `groups:
  - name: hosts
    interval: 15s
    rules:
      - alert: TargetDown
        expr: up == 0
        for: 5m
        labels: {severity: critical}
`;
const HOSTS = `groups:
  - name: hosts
    interval: 15s
    rules:
      # Nobody answers.
      - alert: TargetDown
        expr: up == 0
        for: 1m
        labels: {severity: critical}
        annotations: {summary: '{{ $labels.instance }} does not answer'}
      - alert: HighLoad
        expr: |
          node_load1
            > 4
        for: 10m
        labels: {severity: warning}
`;
const BROKEN_GOOD = 'groups:\n  - name: web\n    rules:\n      - alert: Slow\n        expr: up < 1\n';
const BROKEN = 'groups:\n  - name: web\n    rules:\n      - alert: Slow\n        expr: rat(up[5m]) > 1\n';

/// As much judgement as the tests need.
function judge(text) {
  const errors = [];
  text.split('\n').forEach((line, index) => {
    const at = line.indexOf('rat(');
    if (at >= 0) errors.push({ line: index + 1, column: at + 1, message: 'could not parse expression: 1:1: parse error: unknown function with name "rat"' });
    if (/^\s+foo:/.test(line)) errors.push({ line: index + 1, column: 9, message: 'unknown key "foo": field foo not found in rule' });
    if (/^\s+expr:\s*$/.test(line)) errors.push({ line: index + 1, column: 9, message: 'an expression is missing' });
  });
  const warnings = /severity: page/.test(text) ? [{ line: text.split('\n').findIndex((line) => line.includes('severity: page')) + 1, message: 'nothing routes severity "page"' }] : [];
  return { errors, warnings, groups: errors.length ? 0 : (text.match(/- name:/g) ?? []).length, rules: errors.length ? 0 : (text.match(/- (alert|record):/g) ?? []).length };
}

function storeOf(state, now) {
  state.zk ??= (() => {
    const push = (number, minutes, who, why, texts, more = {}) => ({ push: number, kind: 'push', who, at: iso(now - minutes * MINUTE), why, parent: number > 1 ? number - 1 : null, restores: null, texts, ...more });
    const pushes = [
      push(1, 3000, 'li@web1', 'first rules', { 'hosts.yml': HOSTS_OLD }),
      push(2, 150, 'li@10.0.0.9', 'tell sooner; <b>load</b> too', { 'hosts.yml': HOSTS, 'team/web.yml': BROKEN_GOOD }),
      ...(state.mode === 'bad' ? [push(3, 10, 'other clients', 'edited outside: team/web.yml', { 'hosts.yml': HOSTS, 'team/web.yml': BROKEN }, { kind: 'outside' })] : []),
    ];
    return { pushes };
  })();
  return state.zk;
}

const made = ({ push, kind, who, at, why }) => ({ push, kind, who, at, why });

function unified(from = '', to = '', fromName = 'a', toName = 'b') {
  const [a, b] = [from, to].map((text) => (text ? text.replace(/\n$/, '').split('\n') : []));
  let start = 0;
  while (start < a.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const first = Math.max(0, start - 3);
  const [lastA, lastB] = [a.length - end + Math.min(3, end), b.length - end + Math.min(3, end)];
  const lines = [...a.slice(first, start).map((l) => ` ${l}`), ...a.slice(start, a.length - end).map((l) => `-${l}`), ...b.slice(start, b.length - end).map((l) => `+${l}`), ...a.slice(a.length - end, lastA).map((l) => ` ${l}`)];
  return `--- ${fromName}\n+++ ${toName}\n@@ -${lastA - first ? first + 1 : 0},${lastA - first} +${lastB - first ? first + 1 : 0},${lastB - first} @@\n${lines.join('\n')}\n`;
}

function changes(from, to) {
  return [...new Set([...Object.keys(from), ...Object.keys(to)])]
    .filter((name) => from[name] !== to[name])
    .map((name) => ({ name, change: from[name] === undefined ? 'add' : to[name] === undefined ? 'delete' : 'set', diff: unified(from[name], to[name], `now: ${name}`, `new: ${name}`) }));
}

export function answerZooKeeper(state, method, path, params, body, now) {
  const root = '/api/watchkeeper/v1/zookeeper';
  if (!path.startsWith(root) || state.mode === 'plain') return undefined;
  const ok = (data) => [200, { status: 'success', data }];
  const no = (status, errorType, error) => [status, { status: 'error', errorType, error }];
  const away = state.mode === 'away';
  const store = storeOf(state, now);
  const head = store.pushes[store.pushes.length - 1];
  const changedBy = (name) => [...store.pushes].reverse().find((push, index, all) => push.texts[name] !== undefined && all[index + 1]?.texts[name] !== push.texts[name]);
  const fileOf = (name, text) => ({ name, version: store.pushes.length, sha256: hash(text), bytes: text.length, stored: text.length, modified: changedBy(name).at, by: made(changedBy(name)), broken: null, ...judge(text) });
  if (path === root) {
    if (state.mode === 'empty') return ok({ configured: false, connected: false, servers: [], root: '', members: [], rules: [], trees: [] });
    return ok({
      configured: true, connected: !away, state: away ? 'connecting' : 'live', since: iso(now - (away ? 9 * MINUTE : 4 * 86_400_000)), lastError: away ? 'zk1:2181: connection refused' : '', expirations: away ? 1 : 0,
      servers: ['zk1:2181', 'zk2:2181', 'zk3:2181'], root: '/watchkeeper', sessionId: away ? '' : '0x100004f2a3b0001', role: away ? 'acting' : 'leader', leader: 'web1', roleWhy: away ? 'it led last, and no member reaches ZooKeeper' : 'first in the election', roleSince: iso(now - 86_400_000),
      members: [
        { id: 'web1', address: '10.0.0.5:9090', url: 'http://10.0.0.5:9090', role: 'leader', version: '0.1.0', started: iso(now - 86_400_000), rules: { mzxid: 700, refused: state.mode === 'bad' ? 1 : 0 }, config: { mzxid: 2 } },
        { id: 'web2', address: '10.0.0.6:9090', url: 'http://10.0.0.6:9090', role: 'standby', version: '0.1.0', started: iso(now - 40 * MINUTE), rules: { mzxid: state.mode === 'bad' ? 650 : 700, refused: 0 }, config: { mzxid: 2 } },
      ],
      znodes: 61, bytes: 48_213, trees: [{ name: 'rules', znodes: 2, bytes: 2100 }, { name: 'history', znodes: 3, bytes: 900 }, { name: 'blobs', znodes: 4, bytes: 3000 }, { name: 'silences', znodes: 2, bytes: 700 }],
      rules: Object.entries(head.texts).map(([name, text]) => ({ name, version: 3, modified: changedBy(name).at, refused: judge(text).errors.length ? `${judge(text).errors[0].line}:${judge(text).errors[0].column}: ${judge(text).errors[0].message}` : null, rules: Math.max(1, judge(text).rules) })),
    });
  }
  if (path === `${root}/servers`) {
    const server = (address, role, more = {}) => ({ address, role, version: '3.9.3-c26634f34490bb0ea7a09cc51e05ede3b4e320ee, built on 2024-10-17', latencyAvgMs: 0.41, latencyMaxMs: 38, connections: 12, outstanding: 0, znodes: 61, watches: 24, dataBytes: 48_213, openFiles: 80, uptimeMs: 41 * 86_400_000, learners: null, syncedFollowers: null, ...more });
    const gone = { address: 'zk3:2181', error: 'connection refused' };
    return ok({ servers: away ? ['zk1:2181', 'zk2:2181', 'zk3:2181'].map((address) => ({ address, error: 'connection refused' })) : [server('zk1:2181', 'leader', { learners: 2, syncedFollowers: state.mode === 'bad' ? 1 : 2 }), server('zk2:2181', 'follower', { connections: 3 }), state.mode === 'bad' ? gone : server('zk3:2181', 'follower')] });
  }
  if (path === `${root}/rules/check`) return ok({ good: true, files: Object.fromEntries(Object.entries(JSON.parse(body).files).map(([name, text]) => [name, judge(text)])) });
  if (state.mode === 'empty') return no(503, 'unavailable', 'zookeeper.connect is not configured: there are no rule files in ZooKeeper');
  if (away) return no(503, 'unavailable', 'ZooKeeper does not answer');
  if (path === `${root}/rules` && method === 'POST') {
    const asked = JSON.parse(body);
    const texts = { ...head.texts };
    for (const { name, text, base } of asked.changes) {
      const there = texts[name] === undefined ? null : hash(texts[name]);
      if (there !== base) return no(409, 'conflict', `${name}: changed meanwhile by push ${head.push} by ${head.who} at ${head.at} (${head.why}); nothing was written: read it again`);
      if (text === null) delete texts[name];
      else texts[name] = text;
      if (asked.author === 'nobody') return no(403, 'forbidden', `/watchkeeper/rules/${name}: no permission`);
    }
    const done = changes(head.texts, texts);
    if (!asked.dryRun) store.pushes.push({ push: head.push + 1, kind: 'push', who: `${asked.author || 'somebody'}@127.0.0.1`, at: iso(now), why: asked.reason, parent: head.push, restores: null, texts });
    return ok({ dryRun: !!asked.dryRun, push: head.push + 1, outside: null, changes: done, files: {} });
  }
  if (path === `${root}/rules`) return ok({ files: Object.entries(head.texts).map(([name, text]) => fileOf(name, text)), head: made(head), outside: [] });
  if (path === `${root}/rules/file`) {
    const text = head.texts[params.get('name')];
    return text === undefined ? no(404, 'not_found', `there is no rule file "${params.get('name')}" in ZooKeeper`) : ok({ ...fileOf(params.get('name'), text), text });
  }
  if (path === `${root}/rules/history`) {
    const shown = store.pushes.map((push, index) => ({ ...made(push), parent: push.parent, restores: push.restores, files: Object.keys(push.texts).length, changes: changes(store.pushes[index - 1]?.texts ?? {}, push.texts).map(({ name, change }) => ({ name, change })) }));
    return ok({ pushes: shown.reverse(), outside: [], unreadable: [] });
  }
  const number = /\/rules\/history\/(\d+)$/.exec(path)?.[1];
  if (number) {
    const push = store.pushes.find((one) => one.push === Number(number));
    const text = push?.texts[params.get('name')];
    return text === undefined ? no(404, 'not_found', `there is no push ${number}`) : ok({ ...made(push), name: params.get('name'), sha256: hash(text), text });
  }
  if (path === `${root}/rules/diff`) {
    const side = (name) => (params.get(name) ? store.pushes.find((one) => one.push === Number(params.get(name)))?.texts : head.texts) ?? {};
    return ok({ from: params.get('from'), to: params.get('to'), changes: changes(side('from'), side('to')) });
  }
  if (path === `${root}/rules/rollback`) {
    const asked = JSON.parse(body);
    if (asked.head && asked.head !== head.push) return no(409, 'conflict', `the newest push is not ${asked.head}, but ${head.push}; nothing was written: read it again`);
    const { texts } = store.pushes.find((one) => one.push === asked.push);
    const done = changes(head.texts, texts);
    if (!asked.dryRun) store.pushes.push({ push: head.push + 1, kind: 'rollback', who: `${asked.author}@127.0.0.1`, at: iso(now), why: asked.reason, parent: head.push, restores: asked.push, texts });
    return ok({ dryRun: asked.dryRun, push: null, outside: null, changes: done, files: Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, judge(text)])) });
  }
  return undefined;
}

/// What `GET overview` says of refused files.
export function refusedFilesOf(state, now) {
  if (state.mode !== 'bad') return [];
  const { texts, at } = storeOf(state, now).pushes.at(-1);
  return Object.entries(texts).flatMap(([name, text]) => judge(text).errors.slice(0, 1).map(({ line, column, message }) => ({ file: `zookeeper:/watchkeeper/rules/${name}`, line, column, reason: `${line}:${column}: ${message}`, at, hasLastGood: true })));
}
