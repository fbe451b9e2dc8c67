// @ts-check
// A client of GoCart's WebSocket API (docs/reference/websocket.md).

/**
 * @typedef {import('./gocart-realtime.js').Options} Options
 * @typedef {import('./gocart-realtime.js').StoreEvent} StoreEvent
 * @typedef {import('./gocart-realtime.js').Command} Command
 * @typedef {import('./gocart-realtime.js').Reply} Reply
 * @typedef {(event: StoreEvent) => void} Handler
 */

/** What the store, or the line to it, could not do. */
export class RealtimeError extends Error {
  /** @param {string} code @param {string} detail @param {{topic?: string, errors?: any[], cause?: unknown}} [more] */
  constructor(code, detail, more = {}) {
    super(detail || code, { cause: more.cause });
    this.name = 'RealtimeError';
    this.code = code;
    this.topic = more.topic;
    this.errors = more.errors;
  }
}

const FIRST_PAUSE = 250; // milliseconds, as all that follow
const LONGEST_PAUSE = 10_000;
const HANDSHAKE = 10_000;

/** Connects, and stays connected until close. @param {Options} options */
export const connect = (options) => new Live(options);

class Live {
  #options;
  /** @type {'connecting'|'open'|'waiting'|'closed'} */ #state = 'connecting';
  /** @type {any} */ #socket;
  /** @type {Record<string, Set<Function>>} */ #listeners = { state: new Set(), reload: new Set(), error: new Set() };
  /** @type {Map<string, Set<Handler>>} by topic */ #topics = new Map();
  /** @type {Map<string, {message: object, resolve: (r: Reply) => void, reject: (e: Error) => void}>} by id */ #commands = new Map();
  /** @type {Map<string, (m: any) => void>} who waits for the answer to what was sent on this socket, by id */ #answers = new Map();
  /** @type {number|undefined} that of the last event that is known */ #position;
  #hello = { position: 0, pingSeconds: 30 };
  #attempt = 0; // since the last connection that came to be
  #nextID = 1;
  #heard = 0; // when something last came
  #reconnectAt = 0; // when the store wants us back, 0 where it said nothing
  /** @type {{retry?: any, watch?: any, renewal?: any}} */ #timers = {};

  /** @param {Options} options */
  constructor(options) {
    this.#options = { WebSocket: /** @type {any} */ (globalThis).WebSocket, ...options, url: new URL(options.url).href };
    queueMicrotask(() => this.#open()); // after on() and subscribe() of who called
  }

  get state() { return this.#state; }
  get position() { return this.#position; }

  /** @param {'state'|'reload'|'error'} name @param {(value: any) => void} listener */
  on(name, listener) {
    this.#listeners[name].add(listener);
    return () => void this.#listeners[name].delete(listener);
  }

  /** @param {string} topic @param {Handler} handler */
  subscribe(topic, handler) {
    const own = (/** @type {StoreEvent} */ event) => handler(event); // the same handler may be given twice
    const handlers = this.#topics.get(topic) ?? new Set();
    this.#topics.set(topic, handlers.add(own));
    if (handlers.size === 1 && this.#state === 'open') this.#ask({ type: 'subscribe', topic }, (m) => this.#refused(topic, m));
    return () => {
      if (!handlers.delete(own) || handlers.size > 0 || this.#topics.get(topic) !== handlers) return;
      this.#topics.delete(topic);
      if (this.#state === 'open') this.#ask({ type: 'unsubscribe', topic });
    };
  }

  /** @param {Command} command @returns {Promise<Reply>} */
  command({ method, path, body, cartToken, idempotencyKey = method === 'POST' ? newKey() : undefined }) {
    if (this.#state === 'closed') return Promise.reject(new RealtimeError('closed', 'the connection was closed'));
    return new Promise((resolve, reject) => {
      const id = `c${this.#nextID++}`;
      this.#commands.set(id, { message: { type: 'command', id, method, path, idempotencyKey, cartToken, body }, resolve, reject });
      if (this.#state === 'open') this.#sendCommand(id);
    });
  }

  close() {
    if (this.#state === 'closed') return;
    this.#drop(1000);
    clearTimeout(this.#timers.retry);
    this.#enter('closed');
    for (const { reject } of this.#commands.values()) reject(new RealtimeError('closed', 'the connection was closed'));
    this.#commands.clear();
    this.#topics.clear();
  }

  /** @param {'connecting'|'open'|'waiting'|'closed'} state */
  #enter(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit('state', state);
  }

  /** @param {string} name @param {any} value */
  #emit(name, value) { for (const listener of [...this.#listeners[name]]) guarded(() => listener(value)); }

  /** Is undefined where cookies say who one is. @returns {Promise<{token?: string, ticket?: string}|undefined>} */
  async #credentials() {
    const { token, ticket } = this.#options;
    if (ticket) return { ticket: await ticket() };
    if (token) return { token: typeof token === 'function' ? await token() : token };
  }

  async #open() {
    if (this.#state === 'closed') return;
    this.#enter('connecting');
    /** @type {any} */ const mine = this.#socket = {}; // until there is one
    this.#timers.watch = setTimeout(() => this.#lost(new RealtimeError('unreachable', 'the store did not answer in time')), HANDSHAKE);
    const who = await this.#credentials().catch((cause) => {
      if (this.#socket === mine) this.#lost(new RealtimeError('credentials', 'there are no credentials to connect with', { cause }));
    });
    if (this.#socket !== mine) return;
    /** @type {any} */ const socket = new this.#options.WebSocket(this.#options.url, ['gocart.v1']);
    this.#socket = socket;
    socket.onmessage = (/** @type {any} */ e) => {
      if (this.#socket !== socket) return;
      this.#heard = Date.now();
      let m;
      try { m = JSON.parse(e.data); } catch { return; } // a proxy's, not the store's
      this.#take(m, who || undefined);
    };
    socket.onclose = (/** @type {any} */ e) => {
      if (this.#socket !== socket) return;
      const why = e.code === 4401 ? 'unauthorized' : 'unreachable';
      this.#lost(e.code === 1012 ? undefined : new RealtimeError(why, e.reason || `the connection was lost (${e.code})`));
    };
  }

  /** @param {any} m @param {{token?: string, ticket?: string}|undefined} who */
  #take(m, who) {
    if (m.type === 'hello') {
      this.#hello = m;
      this.#position ??= m.position;
      clearTimeout(this.#timers.watch);
      this.#timers.watch = setInterval(() => this.#checkLine(), m.pingSeconds * 500);
      if (who) this.#authenticate(who, () => this.#resume());
      else this.#renewAt(m.expiresAt), this.#resume();
    } else if (m.type === 'event') {
      this.#deliver(m);
    } else if (m.type === 'reload') {
      this.#position = this.#hello.position; // what is read from now on is not older
      this.#emit('reload', m.topics);
    } else if (m.type === 'reconnect') {
      this.#reconnectAt = Date.now() + m.afterMillis;
    } else if (m.id) {
      const answered = this.#answers.get(m.id);
      this.#answers.delete(m.id);
      answered?.(m);
      if (m.position !== undefined && this.#state === 'open') this.#position = Math.max(this.#position ?? 0, m.position);
    } else if (m.type === 'error') {
      this.#emit('error', errorOf(m));
    }
  }

  /** @param {{token?: string, ticket?: string}} who @param {() => void} then */
  #authenticate(who, then) {
    this.#ask({ type: 'auth', ...who }, (m) => {
      if (m.type === 'error') return this.#lost(errorOf(m));
      this.#renewAt(m.expiresAt);
      then();
    });
  }

  /** Says anew who one is before the credentials end. @param {string|undefined} expiresAt */
  #renewAt(expiresAt) {
    clearTimeout(this.#timers.renewal);
    if (!expiresAt || !(this.#options.token || this.#options.ticket)) return;
    const socket = this.#socket;
    const left = Date.parse(expiresAt) - Date.now();
    const pause = Math.min(Math.max(left - 60_000, left * 0.6, HANDSHAKE), 2 ** 31 - 1);
    this.#timers.renewal = setTimeout(async () => {
      try {
        const who = await this.#credentials();
        if (this.#socket === socket && who) this.#authenticate(who, () => {});
      } catch (cause) {
        if (this.#socket !== socket) return;
        this.#emit('error', new RealtimeError('credentials', 'there are no new credentials', { cause }));
        this.#renewAt(expiresAt);
      }
    }, pause);
  }

  /** Takes up all topics after the last position, but for those that are refused. */
  #resume() {
    const topics = [...this.#topics.keys()];
    if (topics.length === 0) {
      this.#position = this.#hello.position; // there is nothing to miss
      return this.#opened(topics, this.#position);
    }
    this.#ask({ type: 'resume', topics, after: this.#position }, (m) => {
      if (m.type !== 'error') return this.#opened(topics, m.position);
      if (!this.#topics.has(m.topic)) return this.#lost(errorOf(m));
      this.#refused(m.topic, m);
      if (m.code !== 'unavailable') this.#resume();
    });
  }

  /** @param {string[]} asked @param {number|undefined} position */
  #opened(asked, position) {
    if (position !== undefined) this.#position = Math.max(this.#position ?? 0, position);
    this.#attempt = 0;
    for (const id of this.#commands.keys()) this.#sendCommand(id);
    for (const topic of asked) if (!this.#topics.has(topic)) this.#ask({ type: 'unsubscribe', topic });
    for (const topic of this.#topics.keys()) if (!asked.includes(topic)) this.#ask({ type: 'subscribe', topic }, (m) => this.#refused(topic, m));
    this.#enter('open');
  }

  /** @param {string} topic @param {any} m */
  #refused(topic, m) {
    if (m.type !== 'error') return;
    if (m.code === 'unavailable') return this.#lost(errorOf(m, topic));
    this.#topics.delete(topic);
    this.#emit('error', errorOf(m, topic));
  }

  /** @param {StoreEvent} event */
  #deliver(event) {
    if (event.position <= (this.#position ?? 0)) return; // a repeat
    this.#position = event.position;
    const object = event.topic === 'inventory' ? event.productId : event.subject;
    for (const topic of [event.topic, `${event.topic}/${object}`]) {
      for (const handler of [...(this.#topics.get(topic) ?? [])]) guarded(() => handler(event));
    }
  }

  /** @param {string} id */
  #sendCommand(id) {
    this.#ask(/** @type {any} */ (this.#commands.get(id)).message, (m) => {
      const command = this.#commands.get(id);
      this.#commands.delete(id);
      m.type === 'error' ? command?.reject(errorOf(m)) : command?.resolve({ status: m.status, body: m.body });
    });
  }

  /** @param {any} message @param {(m: any) => void} [answered] */
  #ask(message, answered = () => {}) {
    const id = message.id ?? `r${this.#nextID++}`;
    this.#answers.set(id, answered);
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify({ ...message, id })); // else it is being lost
  }

  /** The store's pings are not shown to pages, so silence is broken by our own. */
  #checkLine() {
    const silent = Date.now() - this.#heard, period = this.#hello.pingSeconds * 1000;
    if (silent >= 2.5 * period) this.#lost(new RealtimeError('unreachable', 'the line is dead'));
    else if (silent >= period) this.#ask({ type: 'ping' });
  }

  /** Lets go of the socket. @param {number} code */
  #drop(code) {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#answers.clear();
    clearTimeout(this.#timers.watch); // an interval too
    clearTimeout(this.#timers.renewal);
    if (socket?.readyState < 2) guarded(() => socket.close(code));
  }

  /** @param {RealtimeError} [error] */
  #lost(error) {
    if (this.#state === 'closed') return;
    this.#drop(1000);
    if (error) this.#emit('error', error);
    if (/** @type {string} */ (this.#state) === 'closed') return; // by who heard of the error
    const most = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#attempt++);
    const pause = this.#reconnectAt ? Math.max(0, this.#reconnectAt - Date.now()) : Math.random() * most;
    this.#reconnectAt = 0;
    this.#timers.retry = setTimeout(() => this.#open(), pause);
    this.#enter('waiting');
  }
}

/** @param {any} m @param {string} [topic] */
const errorOf = (m, topic) => new RealtimeError(m.code, m.detail, { topic, errors: m.errors });

/** Calls what is the application's: its errors are its own, and stop nothing here. @param {() => void} call */
function guarded(call) {
  try { call(); } catch (error) { queueMicrotask(() => { throw error; }); }
}

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
