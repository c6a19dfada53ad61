/** The tables of the broker's durable state. */

/** Raised with every change of the tables; an older file is migrated, a newer one refused. */
export const schemaVersion = 1;

/**
 * `message.pending` counts the queues that still hold the message. A delivery's packet identifier is not a column: it
 * follows from the sequence, so that sending a message writes nothing and a restart sends it under the same identifier.
 */
export const schema = `
CREATE TABLE session (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,
  client_id TEXT NOT NULL,
  disconnected_ms INTEGER,
  UNIQUE (identity, client_id)
) STRICT;
CREATE TABLE subscription (
  session INTEGER NOT NULL,
  filter TEXT NOT NULL,
  qos INTEGER NOT NULL,
  PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  pending INTEGER NOT NULL
) STRICT;
CREATE INDEX message_done ON message (id) WHERE pending <= 0;
CREATE TABLE delivery (
  session INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  message INTEGER,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  released INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (session, sequence)
) STRICT, WITHOUT ROWID;
CREATE TABLE incoming_qos2 (
  session INTEGER NOT NULL,
  packet_id INTEGER NOT NULL,
  PRIMARY KEY (session, packet_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE retained (
  topic TEXT PRIMARY KEY,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL,
  origin TEXT NOT NULL
) STRICT;
`;
