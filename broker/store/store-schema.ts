/** The tables of the broker's durable state. */

/** Raised with every change of the tables; an older file is migrated, a newer one refused. */
export const schemaVersion = 8;

/** `due_ms` is set once the client is lost; `chain` is the certificates (PEM) that were verified at `connected_ms`. */
const willTable = `
CREATE TABLE will (
  identity TEXT NOT NULL,
  client_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  properties BLOB NOT NULL,
  expiry_seconds INTEGER,
  delay_seconds INTEGER NOT NULL,
  due_ms INTEGER,
  chain TEXT NOT NULL,
  connected_ms INTEGER NOT NULL,
  PRIMARY KEY (identity, client_id)
) STRICT;
`;

/** How far this copy has followed the log that several nodes share; no row on a node that is alone. */
const placeTable = `
CREATE TABLE place (
  id INTEGER PRIMARY KEY,
  lineage TEXT NOT NULL,
  position INTEGER NOT NULL,
  epoch INTEGER NOT NULL
) STRICT;
`;

/**
 * What waits for the upstream, in one lane for each topic. Like one in the queue of a session, a message in it counts in
 * `message.pending`.
 */
const upQueueTable = `
CREATE TABLE cascade_delivery (
  sequence INTEGER PRIMARY KEY,
  lane INTEGER NOT NULL,
  message INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  queued_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX cascade_delivery_lane ON cascade_delivery (lane, sequence);
`;

/**
 * What the upstream would not take, with its place in the queue (NULL: not known). It counts in `message.pending`, too. A
 * number is never used again, for a person may have noted it.
 */
const setAsideTable = `
CREATE TABLE cascade_refused (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  reason TEXT NOT NULL,
  refused_ms INTEGER NOT NULL,
  message INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  sequence INTEGER,
  queued_ms INTEGER NOT NULL
) STRICT;
`;

/** As it was before anything could go back from it. */
const firstSetAsideTable = `
CREATE TABLE cascade_refused (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  reason TEXT NOT NULL,
  refused_ms INTEGER NOT NULL,
  message INTEGER NOT NULL
) STRICT;
`;

/**
 * Sessions that have ended and whose queues still have what came through shared subscriptions: it goes to others, a
 * piece at a time. Up to `seen_up_to` the client may have seen what is of QoS 2.
 */
const leavingTable = `
CREATE TABLE leaving (
  session INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,
  seen_up_to INTEGER NOT NULL
) STRICT;
CREATE INDEX delivery_share ON delivery (session, sequence) WHERE share IS NOT NULL;
`;

/** Topics of which the upstream has not got what is retained. */
const owedTable = `
CREATE TABLE cascade_owed (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL UNIQUE
) STRICT;
`;

/**
 * Until then the cascade's queue was that of a session. Its lanes are not known to SQL, so all of it is one lane, which
 * keeps its order.
 */
const moveCascadeQueue = `
INSERT INTO cascade_delivery (sequence, lane, message, retain, bytes, queued_ms)
  SELECT d.sequence, 0, d.message, d.retain, d.bytes, unixepoch() * 1000
  FROM delivery d JOIN session s ON s.id = d.session
  WHERE s.identity = '$cascade' AND d.message IS NOT NULL;
DELETE FROM delivery WHERE session IN (SELECT id FROM session WHERE identity = '$cascade');
`;

const keepPlaces = `
ALTER TABLE cascade_refused RENAME TO cascade_refused_before;
${setAsideTable}
INSERT INTO cascade_refused (id, topic, bytes, reason, refused_ms, message, retain, sequence, queued_ms)
  SELECT id, topic, bytes, reason, refused_ms, message, 0, NULL, refused_ms FROM cascade_refused_before;
DROP TABLE cascade_refused_before;
`;

/**
 * `session.last_sent` is the last sequence that its client may have seen, known once it has disconnected.
 * `message.pending` counts the queues that still hold the message. A delivery's packet identifier is not a column: it
 * follows from the sequence, so that sending a message writes nothing and a restart sends it under the same identifier.
 */
export const schema = `
CREATE TABLE session (
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,
  client_id TEXT NOT NULL,
  disconnected_ms INTEGER,
  expiry_seconds INTEGER NOT NULL DEFAULT 4294967295,
  last_sent INTEGER,
  UNIQUE (identity, client_id)
) STRICT;
CREATE TABLE subscription (
  session INTEGER NOT NULL,
  filter TEXT NOT NULL,
  qos INTEGER NOT NULL,
  no_local INTEGER NOT NULL DEFAULT 0,
  retain_as_published INTEGER NOT NULL DEFAULT 0,
  identifier INTEGER,
  PRIMARY KEY (session, filter)
) STRICT, WITHOUT ROWID;
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  payload BLOB NOT NULL,
  pending INTEGER NOT NULL,
  properties BLOB,
  expires_ms INTEGER
) STRICT;
CREATE INDEX message_done ON message (id) WHERE pending <= 0;
CREATE INDEX message_expiry ON message (expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE delivery (
  session INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  message INTEGER,
  qos INTEGER NOT NULL,
  retain INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  released INTEGER NOT NULL DEFAULT 0,
  identifiers BLOB,
  share TEXT,
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
  origin TEXT NOT NULL,
  properties BLOB,
  expires_ms INTEGER
) STRICT;
${willTable}${placeTable}${upQueueTable}${setAsideTable}${leavingTable}${owedTable}`;

/** Forward only: by the version that a file has, what makes the next one of it. Nothing that was there is rewritten. */
export const migrations: ReadonlyMap<number, string> = new Map([
  [
    1,
    `
ALTER TABLE session ADD COLUMN expiry_seconds INTEGER NOT NULL DEFAULT 4294967295;
ALTER TABLE subscription ADD COLUMN no_local INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscription ADD COLUMN retain_as_published INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscription ADD COLUMN identifier INTEGER;
ALTER TABLE message ADD COLUMN properties BLOB;
ALTER TABLE message ADD COLUMN expires_ms INTEGER;
CREATE INDEX message_expiry ON message (expires_ms) WHERE expires_ms IS NOT NULL;
ALTER TABLE delivery ADD COLUMN identifiers BLOB;
ALTER TABLE delivery ADD COLUMN share TEXT;
ALTER TABLE retained ADD COLUMN properties BLOB;
ALTER TABLE retained ADD COLUMN expires_ms INTEGER;
${willTable}`,
  ],
  [2, 'ALTER TABLE session ADD COLUMN last_sent INTEGER;'],
  [3, placeTable],
  [4, `${upQueueTable}${firstSetAsideTable}${moveCascadeQueue}`],
  [5, leavingTable],
  [6, owedTable],
  [7, keepPlaces],
]);
