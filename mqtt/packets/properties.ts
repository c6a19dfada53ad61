/** The properties of MQTT 5 (§2.2.2.2): which packet may carry which, of what type, and how they are read and written. */
import type { PacketBody, WireFault } from './packet-body.ts';
import { malformed, protocolError } from './packet-body.ts';

/**
 * Packets that carry properties; a will has its own within CONNECT, SUBACK and UNSUBACK have those of an
 * acknowledgement, and a DISCONNECT says other things if a server sends it.
 */
export type PropertyCarrier =
  | 'connect'
  | 'connack'
  | 'will'
  | 'publish'
  | 'acknowledgement'
  | 'subscribe'
  | 'unsubscribe'
  | 'disconnect'
  | 'serverDisconnect'
  | 'auth';

/** What a peer may say; `forwarded` are the bytes of a message's own properties, as every receiver gets them. */
export interface Properties {
  readonly payloadFormat?: number;
  readonly messageExpirySeconds?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Buffer;
  readonly subscriptionIdentifier?: number;
  readonly sessionExpirySeconds?: number;
  readonly authenticationMethod?: string;
  readonly authenticationData?: Buffer;
  readonly requestProblemInformation?: number;
  readonly willDelaySeconds?: number;
  readonly requestResponseInformation?: number;
  readonly reasonString?: string;
  readonly receiveMaximum?: number;
  readonly topicAliasMaximum?: number;
  readonly topicAlias?: number;
  readonly maximumPacketSize?: number;
  readonly assignedClientIdentifier?: string;
  readonly serverKeepAlive?: number;
  readonly responseInformation?: string;
  readonly serverReference?: string;
  readonly maximumQos?: number;
  readonly retainAvailable?: number;
  readonly wildcardSubscriptionAvailable?: number;
  readonly subscriptionIdentifierAvailable?: number;
  readonly sharedSubscriptionAvailable?: number;
  readonly forwarded: Buffer;
}

type Name = Exclude<keyof Properties, 'forwarded'> | 'userProperty';
type Kind = 'byte' | 'uint16' | 'uint32' | 'variableInteger' | 'text' | 'pair' | 'binary';

interface Row {
  readonly name: Name;
  readonly kind: Kind;
  readonly carriers: readonly PropertyCarrier[];
  /** Of a number; beyond them is a Protocol Error. */
  readonly range?: readonly [min: number, max: number];
  /** A receiver gets it unaltered [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-20]. */
  readonly isForwarded?: true;
}

const message: readonly PropertyCarrier[] = ['will', 'publish'];
const everything: readonly PropertyCarrier[] = [
  ...message,
  'connect',
  'connack',
  'acknowledgement',
  'subscribe',
  'unsubscribe',
  'disconnect',
  'serverDisconnect',
  'auth',
];
const connack: readonly PropertyCarrier[] = ['connack'];
const flag = [0, 1] as const;

/** DISCONNECT of a server carries it; a client that sends one makes a Protocol Error (§3.14.2.2.5). */
const serverReference = 0x1c;

/** Table 2-4 of §2.2.2.2. */
const rows: ReadonlyMap<number, Row> = new Map<number, Row>([
  [0x01, { name: 'payloadFormat', kind: 'byte', carriers: message, range: flag, isForwarded: true }],
  [0x02, { name: 'messageExpirySeconds', kind: 'uint32', carriers: message }],
  [0x03, { name: 'contentType', kind: 'text', carriers: message, isForwarded: true }],
  [0x08, { name: 'responseTopic', kind: 'text', carriers: message, isForwarded: true }],
  [0x09, { name: 'correlationData', kind: 'binary', carriers: message, isForwarded: true }],
  [
    0x0b,
    {
      name: 'subscriptionIdentifier',
      kind: 'variableInteger',
      carriers: ['publish', 'subscribe'],
      range: [1, 268_435_455],
    },
  ],
  [0x11, { name: 'sessionExpirySeconds', kind: 'uint32', carriers: ['connect', 'connack', 'disconnect'] }],
  [0x12, { name: 'assignedClientIdentifier', kind: 'text', carriers: connack }],
  [0x13, { name: 'serverKeepAlive', kind: 'uint16', carriers: connack }],
  [0x15, { name: 'authenticationMethod', kind: 'text', carriers: ['connect', 'connack', 'auth'] }],
  [0x16, { name: 'authenticationData', kind: 'binary', carriers: ['connect', 'connack', 'auth'] }],
  [0x17, { name: 'requestProblemInformation', kind: 'byte', carriers: ['connect'], range: flag }],
  [0x18, { name: 'willDelaySeconds', kind: 'uint32', carriers: ['will'] }],
  [0x19, { name: 'requestResponseInformation', kind: 'byte', carriers: ['connect'], range: flag }],
  [0x1a, { name: 'responseInformation', kind: 'text', carriers: connack }],
  [serverReference, { name: 'serverReference', kind: 'text', carriers: ['connack', 'serverDisconnect'] }],
  [
    0x1f,
    {
      name: 'reasonString',
      kind: 'text',
      carriers: ['connack', 'acknowledgement', 'disconnect', 'serverDisconnect', 'auth'],
    },
  ],
  [0x21, { name: 'receiveMaximum', kind: 'uint16', carriers: ['connect', 'connack'], range: [1, 65_535] }],
  [0x22, { name: 'topicAliasMaximum', kind: 'uint16', carriers: ['connect', 'connack'] }],
  [0x23, { name: 'topicAlias', kind: 'uint16', carriers: ['publish'] }],
  [0x24, { name: 'maximumQos', kind: 'byte', carriers: connack, range: flag }],
  [0x25, { name: 'retainAvailable', kind: 'byte', carriers: connack, range: flag }],
  [0x26, { name: 'userProperty', kind: 'pair', carriers: everything, isForwarded: true }],
  [
    0x27,
    {
      name: 'maximumPacketSize',
      kind: 'uint32',
      carriers: ['connect', 'connack'],
      range: [1, 4_294_967_295],
    },
  ],
  [0x28, { name: 'wildcardSubscriptionAvailable', kind: 'byte', carriers: connack, range: flag }],
  [0x29, { name: 'subscriptionIdentifierAvailable', kind: 'byte', carriers: connack, range: flag }],
  [0x2a, { name: 'sharedSubscriptionAvailable', kind: 'byte', carriers: connack, range: flag }],
]);

export const noProperties: Properties = { forwarded: Buffer.alloc(0) };

/** Reads a property length and what follows; a fault is left in `body`. */
export function readProperties(body: PacketBody, carrier: PropertyCarrier): Properties {
  const length = body.variableInteger('a property length');
  if (length === 0) return noProperties;
  const part = body.part(length, 'properties');
  if (body.fault !== undefined) return noProperties;
  const found: Partial<Record<Name, number | string | Buffer>> = {};
  const forwarded: Buffer[] = [];
  const isMessage = message.includes(carrier);
  /** Where those begin that are forwarded and follow each other without a gap. */
  let runStart = part.offset;
  while (part.left > 0) {
    const start = part.offset;
    const row = rowFor(part, carrier);
    if (row === undefined) break;
    // Only user properties may be there twice (§2.2.2.2), and they keep their order [MQTT-3.3.2-18].
    if (row.kind === 'pair') {
      part.skipText('the name of a user property');
      part.skipText('the value of a user property');
      continue;
    }
    const value = readValue(part, row.kind);
    const fault = part.fault ?? faultOf(row, value, found);
    if (fault !== undefined) {
      part.fail(fault);
      break;
    }
    found[row.name] = value;
    if (row.isForwarded === true) continue;
    if (isMessage && start > runStart) forwarded.push(part.bytes.subarray(runStart, start));
    runStart = part.offset;
  }
  if (isMessage && part.offset > runStart) forwarded.push(part.bytes.subarray(runStart, part.offset));
  if (part.fault !== undefined) body.fail(part.fault);
  const [first] = forwarded;
  return {
    ...(found as Omit<Properties, 'forwarded'>),
    forwarded: forwarded.length === 1 && first !== undefined ? first : Buffer.concat(forwarded),
  };
}

function rowFor(part: PacketBody, carrier: PropertyCarrier): Row | undefined {
  // An identifier is a variable integer, of which all that are known have one byte.
  const identifier = part.variableInteger('a property identifier');
  const row = rows.get(identifier);
  if (row?.carriers.includes(carrier) === true) return row;
  part.fail(
    identifier === serverReference && carrier === 'disconnect'
      ? protocolError('a server reference from a client')
      : malformed(`property ${identifier} in ${carrier}`), // §2.2.2.2
  );
  return undefined;
}

function readValue(part: PacketBody, kind: Exclude<Kind, 'pair'>): number | string | Buffer {
  return part[kind]('a property');
}

function faultOf(
  { name, range }: Row,
  value: number | string | Buffer,
  found: Readonly<Partial<Record<Name, unknown>>>,
): WireFault | undefined {
  if (name in found) return protocolError(`${name} twice`);
  if (range !== undefined && typeof value === 'number' && (value < range[0] || value > range[1])) {
    return protocolError(`${name} of ${value}`);
  }
  // [MQTT-3.3.2-14], [MQTT-4.7.3-1]
  if (name === 'responseTopic' && /^$|[+#]/.test(String(value))) {
    return protocolError('a response topic that is no topic name');
  }
  return undefined;
}
