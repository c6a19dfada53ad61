/** Every bound of the broker, with its default; `limits:` in the configuration overrides each. */
import { z } from 'zod';
import { envelopeBytesMax, topicBytesMax, topicLevelsMax } from '../domain/limits.ts';

const count = (value: number, description: string): z.ZodDefault<z.ZodInt> =>
  z.int().min(1).default(value).describe(description);

export const limitsType = z.strictObject({
  connectionsMax: count(10_000, 'open connections, handshakes included'),
  handshakeSeconds: count(10, 'until the TLS session stands'),
  connectSeconds: count(10, 'from the TLS session to a whole CONNECT'),
  connectBytesMax: count(16 * 1024, 'of a CONNECT packet, will included'),
  packetBytesMax: count(envelopeBytesMax + 4096, 'of any later packet'),
  keepAliveSecondsMax: count(
    3600,
    'a client that asks for none, or for more, is closed after 1.5 times this',
  ),
  topicBytesMax: count(topicBytesMax, 'of a topic name or filter, in UTF-8; MQTT allows 65,535'),
  topicLevelsMax: count(topicLevelsMax, 'levels of a topic name or filter, which `/` separates'),
  clientIdLengthMax: count(128, 'in characters'),
  sessionsPerIdentityMax: count(16, 'sessions, live and stored, of one certificate name'),
  sessionsMax: count(100_000, 'sessions of all identities'),
  sessionExpiryDays: count(60, 'a stored session whose client stays away longer is dropped with its queue'),
  subscriptionsPerSessionMax: count(256, 'topic filters'),
  retainedMax: count(200_000, 'retained messages of all topics'),
  inFlightMax: count(256, 'messages sent to one client and not acknowledged yet'),
  incomingQos2Max: count(
    1024,
    'QoS 2 messages of one client that wait for their release; with MQTT 5 its receive maximum, QoS 1 included',
  ),
  topicAliasMax: z.int().min(0).max(65_535).default(64).describe('topic aliases of one client (MQTT 5)'),
  queuedMessagesMax: count(1_000_000, 'messages on disk for one stored session'),
  queuedBytesMax: count(4 * 1024 ** 3, 'bytes on disk for one stored session'),
  memoryQueuedMessagesMax: count(10_000, 'messages in memory for one clean session'),
  memoryQueuedBytesMax: count(16 * 1024 ** 2, 'bytes in memory for one clean session'),
  storeBytesMax: count(
    64 * 1024 ** 3,
    'bytes of the file on disk; at this size writes fail as on a full disk',
  ),
  outputBytesMax: count(
    256 * 1024,
    'bytes that one slow connection may leave unread before its delivery pauses',
  ),
});
export type BrokerLimits = z.infer<typeof limitsType>;
