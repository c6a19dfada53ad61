/** Every statement on the broker's durable state. */

export const sql = {
  pages: 'PRAGMA page_count',
  freePages: 'PRAGMA freelist_count',
  checkpoint: 'PRAGMA wal_checkpoint(PASSIVE)',
  sessions: 'SELECT id, identity, client_id, disconnected_ms, expiry_seconds, last_sent FROM session',
  createSession: 'INSERT INTO session (id, identity, client_id, expiry_seconds) VALUES (?, ?, ?, ?)',
  lastSession: `SELECT max(coalesce((SELECT max(id) FROM session), 0), coalesce((SELECT max(session) FROM delivery), 0),
    coalesce((SELECT max(session) FROM leaving), 0)) AS id`,
  markSession: 'UPDATE session SET disconnected_ms = ?, expiry_seconds = ?, last_sent = ? WHERE id = ?',
  deleteSession: 'DELETE FROM session WHERE id = ?',
  deleteSubscriptions: 'DELETE FROM subscription WHERE session = ?',
  deleteIncoming: 'DELETE FROM incoming_qos2 WHERE session = ?',
  endedSessions: `SELECT DISTINCT session FROM delivery
    WHERE session NOT IN (SELECT id FROM session) AND session NOT IN (SELECT session FROM leaving)`,
  hasShared: 'SELECT 1 FROM delivery WHERE session = ? AND share IS NOT NULL LIMIT 1',
  leaving: 'SELECT session, identity, seen_up_to FROM leaving ORDER BY session',
  leave: 'INSERT INTO leaving (session, identity, seen_up_to) VALUES (?, ?, ?)',
  left: 'DELETE FROM leaving WHERE session = ?',
  queuePiece: `SELECT count(*) AS deliveries, coalesce(max(sequence), 0) AS last
    FROM (SELECT sequence FROM delivery WHERE session = ? ORDER BY sequence LIMIT ?)`,
  releaseQueuePiece: `UPDATE message SET pending = pending - 1
    WHERE id IN (SELECT message FROM delivery WHERE session = ? AND sequence <= ?)`,
  deleteDone: 'DELETE FROM message WHERE pending <= 0',
  subscriptions: 'SELECT session, filter, qos, no_local, retain_as_published, identifier FROM subscription',
  putSubscription: `INSERT OR REPLACE INTO subscription (session, filter, qos, no_local, retain_as_published, identifier)
    VALUES (?, ?, ?, ?, ?, ?)`,
  deleteSubscription: 'DELETE FROM subscription WHERE session = ? AND filter = ?',
  lastMessage: 'SELECT coalesce(max(id), 0) AS id FROM message',
  expiredDeliveries: `SELECT d.sequence, d.bytes, m.id, m.pending
    FROM (SELECT sequence, bytes, message FROM delivery WHERE session = ? ORDER BY sequence LIMIT ?) d
    JOIN message m ON m.id = d.message WHERE m.expires_ms < ?`,
  hasExpired: 'SELECT 1 FROM message WHERE expires_ms < ? LIMIT 1',
  countMessages: 'SELECT count(*) AS messages FROM message',
  insertMessage: 'INSERT INTO message (id, topic, payload, pending) VALUES (?, ?, ?, ?)',
  insertMessageWithProperties:
    'INSERT INTO message (id, topic, payload, pending, properties, expires_ms) VALUES (?, ?, ?, ?, ?, ?)',
  deleteMessage: 'DELETE FROM message WHERE id = ?',
  deleteMessages: 'DELETE FROM message WHERE id BETWEEN ? AND ?',
  releaseMessage: 'UPDATE message SET pending = pending - 1 WHERE id = ? RETURNING pending',
  enqueue: 'INSERT INTO delivery (session, sequence, message, qos, retain, bytes) VALUES (?, ?, ?, ?, ?, ?)',
  enqueueWithProperties: `INSERT INTO delivery (session, sequence, message, qos, retain, bytes, identifiers, share)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  readQueue: `SELECT d.sequence, d.qos, d.retain, d.bytes, d.released, d.identifiers, d.share,
      m.id, m.topic, m.payload, m.pending, m.properties, m.expires_ms
    FROM delivery d LEFT JOIN message m ON m.id = d.message
    WHERE d.session = ? AND d.sequence > ? ORDER BY d.sequence LIMIT ?`,
  readShared: `SELECT d.sequence, d.qos, d.retain, d.bytes, d.released, d.identifiers, d.share,
      m.id, m.topic, m.payload, m.pending, m.properties, m.expires_ms
    FROM delivery d LEFT JOIN message m ON m.id = d.message
    WHERE d.session = ? AND d.share IS NOT NULL ORDER BY d.sequence LIMIT ?`,
  queueSizes: `SELECT session, count(*) AS messages, sum(bytes) AS bytes, max(sequence) AS last_sequence
    FROM delivery GROUP BY session`,
  releaseDelivery: 'UPDATE delivery SET released = 1, message = NULL WHERE session = ? AND sequence = ?',
  deleteDeliveries: 'DELETE FROM delivery WHERE session = ? AND sequence BETWEEN ? AND ?',
  incoming: 'SELECT session, packet_id FROM incoming_qos2',
  addIncoming: 'INSERT INTO incoming_qos2 (session, packet_id) VALUES (?, ?)',
  deleteOneIncoming: 'DELETE FROM incoming_qos2 WHERE session = ? AND packet_id = ?',
  retained: 'SELECT topic, payload, qos, origin, properties, expires_ms FROM retained',
  putRetained: `INSERT OR REPLACE INTO retained (topic, payload, qos, origin, properties, expires_ms)
    VALUES (?, ?, ?, ?, ?, ?)`,
  deleteRetained: 'DELETE FROM retained WHERE topic = ?',
  wills: `SELECT identity, client_id, topic, payload, qos, retain, properties, expiry_seconds, delay_seconds, due_ms,
      chain, connected_ms FROM will`,
  putWill: `INSERT OR REPLACE INTO will (identity, client_id, topic, payload, qos, retain, properties, expiry_seconds,
      delay_seconds, due_ms, chain, connected_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  deleteWill: 'DELETE FROM will WHERE identity = ? AND client_id = ?',
  place: 'SELECT lineage, position, epoch FROM place',
  putPlace: 'INSERT OR REPLACE INTO place (id, lineage, position, epoch) VALUES (1, ?, ?, ?)',
  forgetPlace: 'DELETE FROM place',
  movePlace: 'UPDATE place SET position = ?, epoch = ?',
  upSizes: 'SELECT lane, count(*) AS messages FROM cascade_delivery GROUP BY lane',
  upTotal: `SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes, max(coalesce(max(sequence), 0),
      coalesce((SELECT max(sequence) FROM cascade_refused), 0)) AS last_sequence
    FROM cascade_delivery`,
  upEnqueue:
    'INSERT INTO cascade_delivery (sequence, lane, message, retain, bytes, queued_ms) VALUES (?, ?, ?, ?, ?, ?)',
  upReadLane: `SELECT d.sequence, d.lane, d.retain, d.bytes, d.queued_ms,
      m.id, m.topic, m.payload, m.pending, m.properties, m.expires_ms
    FROM cascade_delivery d JOIN message m ON m.id = d.message
    WHERE d.lane = ? AND d.sequence > ? ORDER BY d.sequence LIMIT ?`,
  upReadOldest: `SELECT d.sequence, d.lane, d.retain, d.bytes, d.queued_ms,
      m.id, m.topic, m.payload, m.pending, m.properties, m.expires_ms
    FROM cascade_delivery d JOIN message m ON m.id = d.message
    WHERE d.sequence > ? ORDER BY d.sequence LIMIT ?`,
  upOldest: 'SELECT queued_ms FROM cascade_delivery ORDER BY sequence LIMIT 1',
  upMove: 'UPDATE cascade_delivery SET lane = ? WHERE sequence = ?',
  upDelete: 'DELETE FROM cascade_delivery WHERE sequence = ?',
  upRelease: 'UPDATE message SET pending = pending - 1 WHERE id IN (SELECT message FROM cascade_delivery)',
  upClear: 'DELETE FROM cascade_delivery',
  upOwed: 'SELECT topic FROM cascade_owed ORDER BY id',
  upOwe: 'INSERT OR IGNORE INTO cascade_owed (topic) VALUES (?)',
  upSettle: 'DELETE FROM cascade_owed WHERE topic = ?',
  upSetAside: `INSERT INTO cascade_refused (topic, bytes, reason, refused_ms, message, retain, sequence, queued_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  upSetAsideCount: 'SELECT count(*) AS messages, coalesce(sum(bytes), 0) AS bytes FROM cascade_refused',
  upSetAsideNewest: `SELECT id, topic, bytes, reason, refused_ms, retain, queued_ms FROM cascade_refused
    ORDER BY id DESC LIMIT ?`,
  upSetAsideOldest: `SELECT id, topic, bytes, reason, refused_ms, retain, queued_ms FROM cascade_refused
    ORDER BY id LIMIT 1`,
  upSetAsideOne: `SELECT r.id AS number, r.bytes, r.reason, r.refused_ms, r.retain, r.sequence, r.queued_ms,
      m.id, m.topic, m.payload, m.pending, m.properties, m.expires_ms
    FROM cascade_refused r JOIN message m ON m.id = r.message WHERE r.id = ?`,
  upSetAsidePending: `SELECT m.id, m.pending FROM cascade_refused r JOIN message m ON m.id = r.message WHERE r.id = ?`,
  upForgetSetAside: 'DELETE FROM cascade_refused WHERE id = ?',
} as const;
