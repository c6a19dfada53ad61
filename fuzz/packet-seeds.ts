/** Sessions of a client with a broker, as octets: where the fuzzer of MQTT packets begins. */
import mqttPacket from 'mqtt-packet';
import type { IConnectPacket, Packet } from 'mqtt-packet';

const properties = {
  publish: {
    payloadFormatIndicator: true,
    messageExpiryInterval: 4321,
    topicAlias: 1,
    responseTopic: 'ms-acc-1/acc-1/dev-1/answers',
    correlationData: Buffer.from([1, 2, 3, 4]),
    userProperties: { name: ['a', 'b'] },
    contentType: 'application/senml+cbor',
  },
  connect: {
    sessionExpiryInterval: 1234,
    receiveMaximum: 432,
    maximumPacketSize: 100_000,
    topicAliasMaximum: 456,
    requestResponseInformation: true,
    requestProblemInformation: true,
    userProperties: { name: 'value' },
  },
};

/** @returns for MQTT 3.1, 3.1.1 and 5, a CONNECT and every packet that a client may send after it */
export function packetSeeds(): Buffer[] {
  return ([3, 4, 5] as const).flatMap((version) => {
    const options = { protocolVersion: version };
    const encode = (packet: Packet): Buffer => mqttPacket.generate(packet, options);
    const connects = connectsOf(version).map(encode);
    const [first = Buffer.alloc(0)] = connects;
    const later = laterPackets(version === 5).map(encode);
    return [
      ...connects,
      ...later.map((packet) => Buffer.concat([first, packet])),
      Buffer.concat([first, ...later]),
    ];
  });
}

function connectsOf(version: 3 | 4 | 5): IConnectPacket[] {
  const plain: IConnectPacket = {
    cmd: 'connect',
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: version,
    clean: true,
    clientId: 'dev-1',
    keepalive: 60,
  };
  const will = {
    topic: 'ms-acc-1/acc-1/dev-1/status',
    payload: Buffer.from('offline'),
    qos: 1,
    retain: true,
  } as const;
  const full: IConnectPacket = {
    ...plain,
    clean: false,
    username: 'user',
    password: Buffer.from('secret'),
    will: version === 5 ? { ...will, properties: { willDelayInterval: 5, contentType: 'text/plain' } } : will,
    ...(version === 5 && { properties: properties.connect }),
  };
  return [plain, full];
}

function laterPackets(isFive: boolean): Packet[] {
  const topic = 'ms-acc-1/acc-1/dev-1/snapshots';
  const publish = (qos: 0 | 1 | 2, payloadBytes: number): Packet => ({
    cmd: 'publish',
    topic,
    payload: Buffer.alloc(payloadBytes, 'x'),
    qos,
    retain: qos === 1,
    dup: qos === 2,
    messageId: 7,
    ...(isFive && { properties: properties.publish }),
  });
  const subscription = {
    topic: 'ms-acc-1/+/dev-1/#',
    qos: 2,
    ...(isFive && { nl: true, rap: true, rh: 1 }),
  } as const;
  return [
    publish(0, 0),
    publish(1, 20),
    publish(2, 300),
    { cmd: 'puback', messageId: 1 },
    {
      cmd: 'pubrec',
      messageId: 2,
      ...(isFive && { reasonCode: 0x10, properties: { reasonString: 'none' } }),
    },
    { cmd: 'pubrel', messageId: 3 },
    {
      cmd: 'pubcomp',
      messageId: 4,
      ...(isFive && { reasonCode: 0x92, properties: { reasonString: 'gone' } }),
    },
    {
      cmd: 'subscribe',
      messageId: 5,
      subscriptions: [subscription, { topic: '$share/group/ms-acc-1/#', qos: 1 }],
      ...(isFive && { properties: { subscriptionIdentifier: 300 } }),
    },
    { cmd: 'unsubscribe', messageId: 6, unsubscriptions: ['ms-acc-1/#', 'b/+'] },
    { cmd: 'pingreq' },
    ...(isFive
      ? ([{ cmd: 'auth', reasonCode: 0x19, properties: { authenticationMethod: 'm' } }] satisfies Packet[])
      : []),
    { cmd: 'disconnect', ...(isFive && { reasonCode: 4, properties: { sessionExpiryInterval: 9 } }) },
  ];
}
