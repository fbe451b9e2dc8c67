/** How to connect. Without `token` and `ticket` the browser's cookies say who one is. */
export interface Options {
  /** Such as `wss://shop.example/ws`. */
  url: string | URL;
  /** An access token or an API key, or what gets one; it is asked for each connection, and again before the token ends. */
  token?: string | (() => string | Promise<string>);
  /** Gets a ticket of `POST /api/v1/ws/tickets`; asked as `token` is, and preferred to it. */
  ticket?: () => string | Promise<string>;
  /** The WebSocket to use, where there is no global one. */
  WebSocket?: new (url: string, protocols: string[]) => unknown;
}

export type State = 'connecting' | 'open' | 'waiting' | 'closed';

/** `orders`, `orders/ID`, `payments`, `inventory`, `inventory/PRODUCT-ID` or `jobs`. */
export type Topic = 'orders' | 'payments' | 'inventory' | 'jobs' | `orders/${string}` | `inventory/${string}`;

/** What happened in the store. */
export interface StoreEvent<Data = Record<string, unknown>> {
  type: 'event';
  topic: 'orders' | 'payments' | 'inventory' | 'jobs';
  /** Rises with each event of the store, by more than one where events in between are not yours to hear. */
  position: number;
  /** Such as `order.placed` or `stock.changed`. */
  event: string;
  /** What it happened to: an order, a payment, a variant. */
  subject: string;
  /** The variant's product. */
  productId?: string;
  /** RFC 3339. */
  at: string;
  data: Data;
}

export interface Command {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/orders`, `/me/cart`, or one below `/carts`. */
  path: string;
  body?: unknown;
  /** By which a POST is done once however often it is sent; made unless given. */
  idempotencyKey?: string;
  /** Opens a guest's cart. */
  cartToken?: string;
}

/** What the HTTP API would have answered. */
export interface Reply<Body = any> {
  status: number;
  body?: Body;
}

export declare class RealtimeError extends Error {
  constructor(code: string, detail: string, more?: { topic?: string; errors?: Array<{ pointer: string; detail: string }>; cause?: unknown });
  /** One of the HTTP API's codes, or `unreachable`, `credentials` or `closed`. */
  readonly code: string;
  /** The topic that was refused, and is no longer subscribed to. */
  readonly topic?: string;
  readonly errors?: Array<{ pointer: string; detail: string }>;
}

export interface Live {
  readonly state: State;
  /** That of the last event that is known; undefined before the first connection. */
  readonly position: number | undefined;
  /** Has a topic's events told, each once and in order, over all connections. Returns what ends it. */
  subscribe<Data = Record<string, unknown>>(topic: Topic, handler: (event: StoreEvent<Data>) => void): () => void;
  /** Does what a request would. It is sent again, with the same key, when the connection is lost before the reply. */
  command<Body = any>(command: Command): Promise<Reply<Body>>;
  on(name: 'state', listener: (state: State) => void): () => void;
  /** Too much was missed: read anew what these topics are about. */
  on(name: 'reload', listener: (topics: string[]) => void): () => void;
  /** A connection or a topic failed. It goes on with the next connection, unless `close` is called. */
  on(name: 'error', listener: (error: RealtimeError) => void): () => void;
  /** Ends it for good; commands without a reply are rejected. */
  close(): void;
}

/** Connects, and stays connected until `close`. */
export declare function connect(options: Options): Live;
