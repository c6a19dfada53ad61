import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:https';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { connect as connectMqtt } from 'mqtt';
import mqttPacket from 'mqtt-packet';
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { WebSocket } from 'ws';
import type { ClientOptions } from 'ws';
import { Received, openSite } from '../fixture.ts';
import type { Journal, Site } from '../fixture.ts';

let site: Site;
before(() => {
  site = openSite();
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';
const topic = `${device}/snapshots`;

async function startWithWebSocket(
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ port: number; tlsPort: number; journal: Journal; stop: () => Promise<void> }> {
  const { broker, journal } = await site.start({ listenWebSocket: '127.0.0.1:0', ...settings });
  assert(broker.webSocketPort !== undefined);
  return { port: broker.webSocketPort, tlsPort: broker.port, journal, stop: () => site.stop(broker) };
}

async function clientOptions(commonName: string): Promise<{ key: string; cert: string; ca: string }> {
  const { privateKeyPem, chainPem, rootsPem } = await site.tls(commonName);
  return { key: privateKeyPem, cert: chainPem, ca: rootsPem };
}

/** A WebSocket that sends what it is told, and parses what comes as MQTT. */
async function openRaw(
  port: number,
  version: 4 | 5,
): Promise<{ webSocket: WebSocket; next: () => Promise<Packet>; closed: Promise<number> }> {
  const webSocket = new WebSocket(`wss://127.0.0.1:${port}/mqtt`, ['mqtt'], await clientOptions(device));
  const parser = mqttPacket.parser({ protocolVersion: version });
  const packets: Packet[] = [];
  const waiting = new Set<() => void>();
  parser.on('packet', (packet) => {
    packets.push(packet);
    for (const wake of waiting) wake();
    waiting.clear();
  });
  webSocket.on('message', (data: Buffer, isBinary) => {
    assert(isBinary, 'MQTT goes in binary frames alone');
    parser.parse(data);
  });
  webSocket.on('error', () => undefined);
  const closed = new Promise<number>((resolve) => {
    webSocket.once('close', resolve);
  });
  await once(webSocket, 'open');
  assert.equal(webSocket.protocol, 'mqtt'); // [MQTT-6.0.0-4]
  assert.equal(webSocket.extensions, '');
  const next = async (): Promise<Packet> => {
    for (;;) {
      const packet = packets.shift();
      if (packet !== undefined) return packet;
      await new Promise<void>((resolve) => waiting.add(resolve));
    }
  };
  return { webSocket, next, closed };
}

function bytesOf(version: 4 | 5, ...packets: readonly Packet[]): Buffer {
  return Buffer.concat(packets.map((packet) => mqttPacket.generate(packet, { protocolVersion: version })));
}

function connectPacket(version: 4 | 5): Packet {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: version,
    clean: true,
    keepalive: 0,
    clientId: 'raw',
  };
}

function publishPacket(messageId: number): IPublishPacket {
  return {
    cmd: 'publish',
    topic,
    payload: Buffer.alloc(300, messageId),
    qos: 1,
    messageId,
    dup: false,
    retain: false,
  };
}

for (const version of [4, 5] as const) {
  test(`WebSocket: MQTT.js ${version} talks to a client on TLS, both ways, with the same rights`, async () => {
    const { port, tlsPort, stop } = await startWithWebSocket();
    const overTls = await site.connect({ port: tlsPort }, 'vendor-snapshot-service', { clientId: 'tls' });
    await overTls.subscribeAsync('+/+/+/snapshots', { qos: 1 });
    const client = connectMqtt({
      protocol: 'wss',
      host: '127.0.0.1',
      port,
      path: '/mqtt',
      protocolVersion: version,
      reconnectPeriod: 0,
      clientId: 'web',
      wsOptions: await clientOptions(device),
    });
    const received = new Received(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
    });
    await client.subscribeAsync(`${device}/commands`, { qos: 2 });
    await client.publishAsync(topic, 'from the web', { qos: 2 });
    assert.deepEqual(await site.received(overTls).count(1), [`${topic}=from the web`]);
    const command = await site.connect({ port: tlsPort }, 'vendor-command-service');
    await command.publishAsync(`${device}/commands`, 'x'.repeat(100_000), { qos: 1 });
    assert.deepEqual(await received.count(1), [`${device}/commands=${'x'.repeat(100_000)}`]);
    await assert.rejects(client.subscribeAsync('ms-acc-2/#'));
    await client.endAsync();
    await stop();
  });

  // [MQTT-6.0.0-2]
  test(`WebSocket ${version}: packets may span frames and frames may hold several`, async () => {
    const { port, stop } = await startWithWebSocket();
    const all = [1, 2, 3, 4, 5].map(publishPacket);
    const bytes = bytesOf(version, connectPacket(version), ...all);
    for (const frameBytes of [1, 7, 301, bytes.length]) {
      const { webSocket, next, closed } = await openRaw(port, version);
      for (let start = 0; start < bytes.length; start += frameBytes) {
        webSocket.send(bytes.subarray(start, start + frameBytes));
      }
      assert.equal((await next()).cmd, 'connack', `frames of ${frameBytes} bytes`);
      for (const { messageId } of all) {
        const answer = await next();
        assert(answer.cmd === 'puback');
        assert.equal(answer.messageId, messageId, `frames of ${frameBytes} bytes`);
      }
      webSocket.close();
      await closed;
    }
    await stop();
  });
}

test('WebSocket: fragments of one message are one stream, and a ping among them is answered', async () => {
  const { port, stop } = await startWithWebSocket();
  const { webSocket, next, closed } = await openRaw(port, 4);
  const bytes = bytesOf(4, connectPacket(4), publishPacket(9));
  const pong = once(webSocket, 'pong');
  webSocket.send(bytes.subarray(0, 5), { fin: false });
  webSocket.ping('are you there');
  webSocket.send(bytes.subarray(5, 40), { fin: false });
  webSocket.send(bytes.subarray(40));
  assert.equal((await next()).cmd, 'connack');
  assert.equal((await next()).cmd, 'puback');
  assert.equal(String((await pong)[0]), 'are you there');
  webSocket.close();
  await closed;
  await stop();
});

// [MQTT-6.0.0-1]
test('WebSocket: a text frame ends the connection, which MQTT 5 is told', async () => {
  const { port, journal, stop } = await startWithWebSocket();
  const { webSocket, next, closed } = await openRaw(port, 5);
  webSocket.send(bytesOf(5, connectPacket(5)));
  assert.equal((await next()).cmd, 'connack');
  webSocket.send('text');
  const farewell = await next();
  assert(farewell.cmd === 'disconnect');
  assert.equal(farewell.reasonCode, 0x82);
  await closed;
  await journal.until('packet.refused', { identity: device, reason: 'protocol_error' });
  await stop();
});

test('WebSocket: a frame larger than any packet may be is refused by its length alone', async () => {
  const { port, journal, stop } = await startWithWebSocket({ limits: { packetBytesMax: 10_000 } });
  const { webSocket, next, closed } = await openRaw(port, 4);
  webSocket.send(bytesOf(4, connectPacket(4)));
  assert.equal((await next()).cmd, 'connack');
  webSocket.send(Buffer.alloc(10_001));
  assert.equal(await closed, 1009);
  await journal.until('packet.refused', { identity: device, reason: 'packet_too_large' });
  await stop();
});

/** @returns the status of the answer to an upgrade that was refused */
async function refusedStatus(
  port: number,
  protocols: readonly string[],
  options: ClientOptions = {},
): Promise<number | undefined> {
  const webSocket = new WebSocket(`wss://127.0.0.1:${port}/`, [...protocols], {
    ...(await clientOptions(device)),
    ...options,
  });
  webSocket.on('error', () => undefined);
  return new Promise((resolve) => {
    webSocket.once('open', () => resolve(101));
    webSocket.once('unexpected-response', (_request, response) => {
      resolve(response.statusCode);
      webSocket.terminate();
    });
  });
}

// [MQTT-6.0.0-3]
test('WebSocket: without the subprotocol mqtt there is none', async () => {
  const { port, journal, stop } = await startWithWebSocket();
  assert.equal(await refusedStatus(port, []), 400);
  assert.equal(await refusedStatus(port, ['chat', 'mqttv3.1']), 400);
  await journal.until('connection.refused', { identity: device, reason: 'websocket_subprotocol' });
  await stop();
});

test('WebSocket: a page of a browser may connect from the configured origins alone', async () => {
  const { port, journal, stop } = await startWithWebSocket({ webSocketOrigins: ['https://fleet.example'] });
  assert.equal(await refusedStatus(port, ['mqtt'], { origin: 'https://evil.example' }), 403);
  assert.equal(await refusedStatus(port, ['mqtt'], { origin: 'https://fleet.example.evil' }), 403);
  await journal.until('connection.refused', { identity: device, reason: 'websocket_origin' });
  const welcome = new WebSocket(`wss://127.0.0.1:${port}/`, ['mqtt'], {
    ...(await clientOptions(device)),
    origin: 'https://fleet.example',
  });
  await once(welcome, 'open');
  welcome.terminate();
  await stop();
});

test('WebSocket: a plain request is answered with what is wanted instead', async () => {
  const { port, stop } = await startWithWebSocket();
  const [response] = (await once(
    request({ host: '127.0.0.1', port, agent: false, ...(await clientOptions(device)) }).end(),
    'response',
  )) as [{ statusCode: number; headers: Record<string, string> }];
  assert.equal(response.statusCode, 426);
  assert.equal(response.headers['upgrade'], 'websocket');
  await stop();
});

test('WebSocket: without a certificate nobody gets as far as HTTP', async () => {
  const { port, journal, stop } = await startWithWebSocket();
  const { ca } = await clientOptions(device);
  const webSocket = new WebSocket(`wss://127.0.0.1:${port}/`, ['mqtt'], { ca });
  webSocket.on('error', () => undefined);
  await new Promise((resolve) => {
    webSocket.once('close', resolve);
  });
  await journal.until('connection.refused', { reason: 'tls' });
  await stop();
});

test('WebSocket: whoever asks for none in time is closed, and the end of the broker does not wait for him', async () => {
  const { port, journal, stop } = await startWithWebSocket({ limits: { connectSeconds: 1 } });
  const silent = connectTls({ host: '127.0.0.1', port, ...(await clientOptions(device)) }).resume();
  await once(silent, 'close');
  await journal.until('connection.refused', { identity: device, reason: 'websocket_timeout' });
  const other = await site.rawConnect({ port }, device);
  await stop();
  await other.closed;
});
