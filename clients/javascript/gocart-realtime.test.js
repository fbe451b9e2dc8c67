import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { connect } from './gocart-realtime.js';

globalThis.crypto ??= (await import('node:crypto')).webcrypto; // as of Node 18

// A clock that stands still, and goes on when it is told to.
const real = { setTimeout, clearTimeout, setInterval, clearInterval, now: Date.now, random: Math.random };
let now, timers;
beforeEach(() => {
  now = 1_000_000;
  timers = [];
  const set = (every) => (call, pause = 0) => {
    const timer = { call, at: now + pause, every: every ? pause : undefined };
    timers.push(timer);
    return timer;
  };
  Object.assign(globalThis, { setTimeout: set(false), setInterval: set(true) });
  globalThis.clearTimeout = globalThis.clearInterval = (timer) => { timers = timers.filter((t) => t !== timer); };
  Date.now = () => now;
  Math.random = () => 1;
  Fake.all = [];
});
afterEach(() => {
  Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout, setInterval: real.setInterval, clearInterval: real.clearInterval });
  Date.now = real.now;
  Math.random = real.random;
});

const settled = () => new Promise((resolve) => setImmediate(resolve));

async function pass(millis) {
  await settled();
  const end = now + millis;
  for (;;) {
    const next = timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
    if (!next) break;
    now = next.at;
    if (next.every) next.at += next.every;
    else timers = timers.filter((t) => t !== next);
    next.call();
    await settled();
  }
  now = end;
}

class Fake {
  static all = [];
  static get last() { return Fake.all.at(-1); }
  readyState = 1;
  sent = [];
  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    Fake.all.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close(code) { this.readyState = 3; this.code = code; }
  say(...messages) { for (const m of messages) this.onmessage({ data: JSON.stringify(m) }); }
  lose(code = 1006) { this.readyState = 3; this.onclose({ code, reason: '' }); }
  take(type) {
    const at = this.sent.findIndex((m) => m.type === type);
    assert.notEqual(at, -1, `no ${type} in ${JSON.stringify(this.sent)}`);
    return this.sent.splice(at, 1)[0];
  }
  answer(type, message) { const { id } = this.take(type); this.say({ id, ...message }); }
  // welcome answers what a client says first.
  welcome({ position = 10, topics, expiresAt } = {}) {
    this.say({ type: 'hello', session: 'S', position, pingSeconds: 30 });
    this.answer('auth', { type: 'authenticated', expiresAt });
    if (topics) this.answer('resume', { type: 'resumed', session: 'S', topics, position });
  }
}

const event = (position, topic = 'orders', more = {}) => ({ type: 'event', topic, position, event: 'x', subject: 's', at: '2026-11-26T09:00:00Z', data: {}, ...more });

// begin connects, with what is told to listeners kept.
function begin(options = {}) {
  let tickets = 0;
  const live = connect({ url: 'wss://shop.example/ws', ticket: async () => `ticket-${++tickets}`, WebSocket: Fake, ...options });
  const heard = { states: [], errors: [], reloads: [], positions: [] };
  live.on('state', (s) => heard.states.push(s));
  live.on('error', (e) => heard.errors.push(e.code));
  live.on('reload', (topics) => heard.reloads.push(topics));
  return { live, heard, listen: (topic) => live.subscribe(topic, (e) => heard.positions.push(e.position)) };
}

test('goes on after a lost connection where it ended, with a new ticket, and drops repeats', async () => {
  const { live, heard, listen } = begin();
  listen('orders');
  listen('inventory');
  await settled();
  const first = Fake.last;
  assert.deepEqual([first.url, first.protocols], ['wss://shop.example/ws', ['gocart.v1']]);
  first.say({ type: 'hello', session: 'S', position: 10, pingSeconds: 30 });
  const { id, ...auth } = first.take('auth');
  assert.deepEqual(auth, { type: 'auth', ticket: 'ticket-1' });
  first.say({ type: 'authenticated', id });
  assert.deepEqual([first.sent[0].topics, first.sent[0].after], [['orders', 'inventory'], 10]);
  first.answer('resume', { type: 'resumed', topics: ['orders', 'inventory'], position: 10 });
  first.say(event(11), event(13, 'inventory'));
  first.lose();
  assert.equal(live.state, 'waiting');
  await pass(250);
  const second = Fake.last;
  assert.notEqual(second, first);
  second.say({ type: 'hello', session: 'T', position: 15, pingSeconds: 30 });
  assert.equal(second.sent[0].ticket, 'ticket-2');
  second.answer('auth', { type: 'authenticated' });
  assert.equal(second.sent[0].after, 13);
  first.say(event(14)); // what comes late over the old socket is not heard
  second.say(event(13, 'inventory'), event(14), event(14));
  second.answer('resume', { type: 'resumed', topics: ['orders', 'inventory'], position: 15 });
  second.say(event(15), event(16));
  assert.deepEqual(heard.positions, [11, 13, 14, 16]);
  assert.deepEqual(heard.states, ['open', 'waiting', 'connecting', 'open']);
  assert.deepEqual(heard.errors, ['unreachable']);
  live.close();
});

test('waits twice as long after each failure, up to ten seconds, and begins anew after success', async () => {
  const { live } = begin();
  await settled();
  for (const pause of [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
    const count = Fake.all.length;
    Fake.last.lose();
    await pass(pause - 1);
    assert.equal(Fake.all.length, count, `before ${pause} ms`);
    await pass(1);
    assert.equal(Fake.all.length, count + 1, `after ${pause} ms`);
  }
  Fake.last.welcome();
  Math.random = () => 0.5; // of the whole pause, not on top of it
  const count = Fake.all.length;
  Fake.last.lose();
  await pass(125);
  assert.equal(Fake.all.length, count + 1);
  live.close();
});

test('comes back when the store says', async () => {
  const { live, heard } = begin();
  await settled();
  Fake.last.welcome();
  Fake.last.say({ type: 'reconnect', afterMillis: 840 });
  await pass(40);
  Fake.last.lose(1012);
  await pass(799);
  assert.equal(Fake.all.length, 1);
  await pass(1);
  assert.equal(Fake.all.length, 2);
  assert.deepEqual(heard.errors, []); // nothing is wrong
  live.close();
});

test('sends a command again with the same key until there is a reply', async () => {
  const { live } = begin();
  const reply = live.command({ method: 'POST', path: '/orders', body: { cartId: 'c' } });
  const refused = live.command({ method: 'POST', path: '/nothing', idempotencyKey: 'mine' });
  await settled();
  Fake.last.welcome();
  const [first, other] = [Fake.last.take('command'), Fake.last.take('command')];
  assert.match(first.idempotencyKey, /^[0-9a-f]{32}$/);
  assert.equal(other.idempotencyKey, 'mine');
  Fake.last.say({ type: 'error', id: other.id, code: 'unknown_command', detail: 'A command is ...' });
  await assert.rejects(refused, { code: 'unknown_command', message: 'A command is ...' });
  Fake.last.lose();
  await pass(250);
  Fake.last.welcome();
  assert.deepEqual(Fake.last.sent, [first]);
  Fake.last.answer('command', { type: 'reply', status: 201, body: { number: '1001' } });
  assert.deepEqual(await reply, { status: 201, body: { number: '1001' } });
  const unsent = live.command({ method: 'GET', path: '/me/cart' });
  live.close();
  await assert.rejects(unsent, { code: 'closed' });
  await assert.rejects(live.command({ method: 'GET', path: '/me/cart' }), { code: 'closed' });
});

test('tells to reload, and goes on from there', async () => {
  const { live, heard, listen } = begin();
  listen('orders');
  await settled();
  Fake.last.welcome({ position: 5000, topics: ['orders'] });
  Fake.last.lose();
  await pass(250);
  Fake.last.say({ type: 'hello', session: 'S', position: 40, pingSeconds: 30 }); // the store was restored to an older time
  Fake.last.answer('auth', { type: 'authenticated' });
  Fake.last.say({ type: 'reload', topics: ['orders'] });
  Fake.last.answer('resume', { type: 'resumed', topics: ['orders'], position: 41 });
  Fake.last.say(event(42));
  assert.deepEqual([heard.reloads, heard.positions, live.position], [[['orders']], [42], 42]);
  live.close();
});

test('drops the topic that is refused, and misses nothing of the others', async () => {
  const { live, heard, listen } = begin();
  listen('orders');
  listen('jobs');
  listen('payments');
  await settled();
  Fake.last.say({ type: 'hello', session: 'S', position: 10, pingSeconds: 30 });
  Fake.last.answer('auth', { type: 'authenticated' });
  const asked = Fake.last.take('resume');
  assert.deepEqual(asked.topics, ['orders', 'jobs', 'payments']);
  Fake.last.say({ type: 'error', id: asked.id, code: 'forbidden', topic: 'jobs', detail: 'The topic jobs needs the scope jobs:read.' });
  const again = Fake.last.take('resume');
  assert.deepEqual([again.topics, again.after], [['orders', 'payments'], 10]);
  Fake.last.say(event(11, 'payments'), event(12), event(13), { type: 'resumed', id: again.id, session: 'S', topics: again.topics, position: 13 });
  assert.deepEqual([heard.positions, heard.errors, live.state], [[11, 12, 13], ['forbidden'], 'open']);
  live.close();
});

test('hears of what is new where it had no topic when the store was restored', async () => {
  const { live, heard, listen } = begin();
  await settled();
  Fake.last.welcome({ position: 5000 });
  Fake.last.lose();
  await pass(250);
  Fake.last.welcome({ position: 40 });
  listen('orders');
  Fake.last.say(event(41));
  assert.deepEqual(heard.positions, [41]);
  live.close();
});

test('subscribes and unsubscribes once for all handlers of a topic, and tells each', async () => {
  const { live, heard, listen } = begin();
  await settled();
  Fake.last.welcome();
  const ends = [listen('orders'), listen('orders'), listen('inventory/p')];
  assert.deepEqual(Fake.last.sent.map((m) => m.topic), ['orders', 'inventory/p']);
  Fake.last.say(event(11), event(12, 'inventory', { subject: 'v', productId: 'p' }), event(13, 'inventory', { subject: 'v', productId: 'other' }));
  assert.deepEqual(heard.positions, [11, 11, 12]);
  Fake.last.sent = [];
  for (const end of [...ends, ends[0]]) end();
  assert.deepEqual(Fake.last.sent.map((m) => [m.type, m.topic]), [['unsubscribe', 'orders'], ['unsubscribe', 'inventory/p']]);
  live.close();
});

test('asks whether a silent line is alive, and leaves a dead one', async () => {
  const { live, heard } = begin();
  await settled();
  Fake.last.welcome();
  await pass(30_000);
  Fake.last.answer('ping', { type: 'pong', position: 17 });
  assert.equal(live.position, 17);
  await pass(74_000);
  assert.equal(Fake.all.length, 1);
  await pass(1000);
  assert.deepEqual([Fake.all[0].readyState, live.state, heard.errors], [3, 'waiting', ['unreachable']]);
  await pass(250);
  assert.equal(Fake.all.length, 2);
  await pass(10_000); // and nobody says hello
  assert.equal(live.state, 'waiting');
  live.close();
});

test('says anew who it is before the credentials end', async () => {
  let tokens = 0;
  const { live } = begin({ ticket: undefined, token: () => `token-${++tokens}` });
  await settled();
  Fake.last.welcome({ expiresAt: new Date(now + 900_000).toISOString() });
  for (let passed = 0; passed < 840_000; passed += 30_000) {
    assert.ok(!Fake.last.sent.some((m) => m.type === 'auth'), `too early, after ${passed} ms`);
    Fake.last.say({ type: 'pong' });
    await pass(30_000);
  }
  assert.equal(Fake.last.take('auth').token, 'token-2');
  live.close();
});

test('tries again where there are no credentials, or they are refused', async () => {
  let ticket = () => Promise.reject(new Error('signed out'));
  const { live, heard } = begin({ ticket: () => ticket() });
  await settled();
  assert.equal(Fake.all.length, 0);
  ticket = async () => 'stale';
  await pass(250);
  Fake.last.say({ type: 'hello', session: 'S', position: 1, pingSeconds: 30 });
  Fake.last.answer('auth', { type: 'error', code: 'unauthorized', detail: 'no' });
  await pass(500);
  Fake.last.welcome();
  assert.deepEqual([heard.errors, live.state], [['credentials', 'unauthorized'], 'open']);
  live.close();
});

test('without a token or a ticket leaves it to cookies', async () => {
  const { live } = begin({ ticket: undefined });
  await settled();
  Fake.last.say({ type: 'hello', session: 'S', position: 1, pingSeconds: 30, expiresAt: '2026-11-26T09:00:00Z' });
  assert.deepEqual([Fake.last.sent, live.state], [[], 'open']);
  live.close();
});

test('is closed for good, also by who hears of an error, and leaves no timer', async () => {
  const { live, heard, listen } = begin();
  live.on('error', () => live.close());
  listen('orders');
  await settled();
  Fake.last.welcome({ topics: ['orders'] });
  const socket = Fake.last;
  live.close();
  live.close();
  socket.say(event(11));
  assert.deepEqual([socket.code, timers, heard.states, heard.positions], [1000, [], ['open', 'closed'], []]);
  const other = begin();
  other.live.on('error', () => other.live.close());
  await settled();
  Fake.last.lose();
  await pass(60_000);
  assert.deepEqual([Fake.all.length, timers, other.live.state], [2, [], 'closed']);
  const early = begin();
  early.live.close();
  await pass(60_000);
  assert.equal(Fake.all.length, 2);
});
