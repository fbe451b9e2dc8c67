// Package realtime tells people and programs at once what happens in the store,
// over WebSockets, and takes their commands. What is said is in
// docs/reference/websocket.md.
//
// Events come from package events, each with its position; a Hub gives each to
// those who subscribed to it and may see it, in order. The subscribers are dealt
// out to shards, which work side by side, so that one event for many clients is
// not written by one processor; a frame is encoded once for all.
//
// Whoever comes back with the position of the last event that they saw gets
// what they missed, from memory or from the database, on any replica: nothing of
// a client is needed but what it says. Its subscriptions are also kept in Redis,
// by the session that it names, so that it need not list them.
package realtime
