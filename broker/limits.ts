/** Every bound of the broker, with its default; `limits:` in the configuration overrides each. */
import { z } from 'zod';
import { envelopeBytesMax, topicBytesMax, topicLevelsMax } from '../domain/limits.ts';

const count = (value: number, description: string): z.ZodDefault<z.ZodInt> =>
  z.int().min(1).default(value).describe(description);

/** What one tenant may hold and publish, at one of its three levels. */
const shareType = (defaults: Readonly<Record<keyof typeof shareDescriptions, number>>) =>
  z
    .strictObject({
      connectionsMax: count(defaults.connectionsMax, shareDescriptions.connectionsMax),
      sessionsMax: count(defaults.sessionsMax, shareDescriptions.sessionsMax),
      subscriptionsMax: count(defaults.subscriptionsMax, shareDescriptions.subscriptionsMax),
      retainedMax: count(defaults.retainedMax, shareDescriptions.retainedMax),
      retainedBytesMax: count(defaults.retainedBytesMax, shareDescriptions.retainedBytesMax),
      queuedMessagesMax: z
        .int()
        .min(1)
        .optional()
        .describe(
          'messages on disk for all of its stored sessions; each session that a message waits for counts; ' +
            'of an identity `limits.queuedMessagesMax`, of an account any number unless given',
        ),
      queuedBytesMax: z
        .int()
        .min(1)
        .optional()
        .describe(
          'bytes of these; of an identity `limits.queuedBytesMax`, of an account any number unless given',
        ),
      messagesPerSecondMax: count(defaults.messagesPerSecondMax, shareDescriptions.messagesPerSecondMax),
      bytesPerSecondMax: count(defaults.bytesPerSecondMax, shareDescriptions.bytesPerSecondMax),
    })
    .prefault({});

const shareDescriptions = {
  connectionsMax: 'open connections whose certificate was verified',
  sessionsMax: 'sessions, live and stored',
  subscriptionsMax: 'topic filters of all sessions',
  retainedMax: 'retained messages below its path, whoever wrote them',
  retainedBytesMax: 'bytes of these',
  messagesPerSecondMax:
    'messages that its clients publish, and filters that they ask for; who sends more, after a burst of ten seconds, is read more slowly',
  bytesPerSecondMax: 'bytes that its clients send, likewise',
} as const;

/** No process carries as much, so it is no bound before somebody sets one. */
const messagesPerSecondMax = 1_000_000;
const bytesPerSecondMax = 1024 ** 3;

export const limitsType = z.strictObject({
  connectionsMax: count(10_000, 'open connections, not counting handshakes'),
  handshakingMax: count(
    4000,
    'connections whose handshake is not over, half of them from one address at most; strangers take nobody else a place',
  ),
  handshakesPerSecondMax: count(2000, 'connections that begin in a second, after a burst of ten seconds'),
  handshakesPerAddressPerSecondMax: count(
    1000,
    'the same from one IPv4 address, or from one /64 of IPv6; half of all, for a whole site may stand behind one',
  ),
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
  sessionsMax: count(100_000, 'sessions of all identities'),
  sessionExpiryDays: count(60, 'a stored session whose client stays away longer is dropped with its queue'),
  subscriptionsPerSessionMax: count(256, 'topic filters'),
  retainedMax: count(200_000, 'retained messages of all topics; they rest in memory too'),
  retainedBytesMax: count(1024 ** 3, 'bytes of the retained messages of all topics'),
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
    'bytes of the file on disk; from nine tenths of them on nothing more is stored until it is at eight',
  ),
  diskFreeBytesMin: count(
    64 * 1024 ** 2,
    'bytes of the disk that are left free: nothing more is stored while fewer are, so that what is read can be deleted',
  ),
  outputBytesMax: count(
    256 * 1024,
    'bytes that one slow connection may leave unread before its delivery pauses',
  ),
  overRateSeconds: count(
    3600,
    'how long a client may send more than it may, and be read more slowly for it, before it is closed',
  ),
  perIdentity: shareType({
    connectionsMax: 64,
    sessionsMax: 16,
    subscriptionsMax: 1024,
    retainedMax: 1000,
    retainedBytesMax: 64 * 1024 ** 2,
    messagesPerSecondMax,
    bytesPerSecondMax,
  }).describe('of one certificate name; of a device, for retained messages'),
  perAccount: shareType({
    connectionsMax: 10_000,
    sessionsMax: 20_000,
    subscriptionsMax: 200_000,
    retainedMax: 100_000,
    retainedBytesMax: 512 * 1024 ** 2,
    messagesPerSecondMax,
    bytesPerSecondMax,
  }).describe('of one account with its devices'),
  perMasterAccount: shareType({
    connectionsMax: 10_000,
    sessionsMax: 50_000,
    subscriptionsMax: 500_000,
    retainedMax: 200_000,
    retainedBytesMax: 1024 ** 3,
    messagesPerSecondMax,
    bytesPerSecondMax,
  }).describe('of one master account with its accounts and devices'),
});
export type BrokerLimits = z.infer<typeof limitsType>;
