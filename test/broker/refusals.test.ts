import assert from 'node:assert/strict';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import type { RunningBroker } from '../../broker/main.ts';
import { openSite } from './fixture.ts';
import type { Journal, RawClient, Site } from './fixture.ts';

let site: Site;
before(() => {
  site = openSite();
});
after(() => site.remove());

const device = 'ms-acc-1/acc-1/dev-1';

async function start(
  name: string,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<{ broker: RunningBroker; journal: Journal }> {
  const data = path.join(site.directory, name);
  return site.start({ data, observe: '127.0.0.1:0', listenWebSocket: '127.0.0.1:0', ...settings });
}

async function metrics(broker: RunningBroker): Promise<string> {
  return (await fetch(`http://127.0.0.1:${broker.observePort ?? 0}/metrics`)).text();
}

async function connected(broker: RunningBroker, clientId: string, version: 4 | 5): Promise<RawClient> {
  const client = await site.rawConnect(broker, device, version);
  await client.open({ clientId });
  return client;
}

/** Provokes one refusal of each kind. */
const provocations: Readonly<Record<string, (broker: RunningBroker) => Promise<void>>> = {
  'connection.refused tls': async ({ port }) => {
    const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false }).resume();
    socket.on('error', () => undefined);
    await new Promise((resolve) => {
      socket.once('close', resolve);
    });
  },
  'connection.refused websocket_origin': async ({ webSocketPort }) => {
    const { privateKeyPem, chainPem, rootsPem } = await site.tls(device);
    const socket = new WebSocket(`wss://127.0.0.1:${webSocketPort ?? 0}/`, ['mqtt'], {
      key: privateKeyPem,
      cert: chainPem,
      ca: rootsPem,
      origin: 'https://evil.example',
    });
    socket.on('error', () => undefined);
    await new Promise((resolve) => {
      socket.once('close', resolve);
    });
  },
  'packet.refused malformed_packet': async (broker) => {
    const client = await connected(broker, 'malformed', 4);
    client.sendHex('82 00');
    await client.closed;
  },
  'session.refused client_id_too_long': async (broker) => {
    const client = await site.rawConnect(broker, device);
    client.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId: 'x'.repeat(1000),
    });
    await client.closed;
  },
  'publish.denied no_right': async (broker) => {
    const client = await connected(broker, 'publisher', 4);
    client.send({
      cmd: 'publish',
      topic: 'ms-acc-2/x',
      payload: 'x',
      qos: 0,
      dup: false,
      retain: false,
    });
    await client.closed;
  },
  'publish.refused payload_format_invalid': async (broker) => {
    const client = await connected(broker, 'liar', 5);
    client.send({
      cmd: 'publish',
      topic: `${device}/x`,
      payload: Buffer.from([0xff]),
      qos: 1,
      messageId: 1,
      dup: false,
      retain: false,
      properties: { payloadFormatIndicator: true },
    });
    await client.next('puback');
    client.socket.destroy();
  },
  'subscription.denied no_right': async (broker) => {
    const client = await connected(broker, 'subscriber', 4);
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 0 }] });
    await client.next('suback');
    client.socket.destroy();
  },
};

for (const [kind, provoke] of Object.entries(provocations)) {
  const [event = '', reason = ''] = kind.split(' ');

  test(`${kind}: one line says who, from where and why, and a counter counts it`, async () => {
    const { broker, journal } = await start(kind.replaceAll(' ', '-'));
    await provoke(broker);
    const line = await journal.until(event, { reason, address: '127.0.0.1' });
    if (reason !== 'tls') assert.equal(line['identity'], device);
    const counter = event.endsWith('.denied')
      ? `plombe_broker_denials_total{action="${event.startsWith('publish') ? 'publish' : 'subscribe'}",reason="${reason}"} 1`
      : `plombe_broker_refusals_total{reason="${reason}"} 1`;
    assert((await metrics(broker)).includes(counter), counter);
    await site.stop(broker);
  });
}

test('will.denied: a will that its identity may not publish any more says whose it was', async () => {
  const { broker, journal } = await start('will');
  const client = await site.rawConnect(broker, 'vendor-command-service');
  await client.open({
    clientId: 'will',
    will: { topic: `${device}/commands`, payload: Buffer.from('x'), qos: 0, retain: false },
  });
  const next = await site.config({
    data: path.join(site.directory, 'will'),
    observe: '127.0.0.1:0',
    listenWebSocket: '127.0.0.1:0',
    roles: { 'vendor-command-service': {} },
  });
  assert(broker.reload(() => next));
  client.socket.destroy();
  await journal.until('will.denied', { identity: 'vendor-command-service', reason: 'no_right' });
  assert((await metrics(broker)).includes('denials_total{action="will",reason="no_right"} 1'));
  await site.stop(broker);
});

test('flood: of a thousand denials in a second some are lines, and all are counted', async () => {
  let nowMs = 1_000_000;
  const data = path.join(site.directory, 'flood');
  const { broker, journal } = await site.start(
    { data, observe: '127.0.0.1:0', deniedPublish: 'drop', log: { linesPerSecondMax: 50 } },
    { monotonicMs: () => nowMs },
  );
  const client = await connected(broker, 'flood', 4);
  for (let messageId = 1; messageId <= 1000; messageId++) {
    client.send({
      cmd: 'publish',
      topic: 'ms-acc-2/x',
      payload: 'x',
      qos: 1,
      messageId,
      dup: false,
      retain: false,
    });
  }
  for (let answers = 0; answers < 1000; answers++) await client.next('puback');
  const lines = (): number => journal.lines.filter(({ event }) => event === 'publish.denied').length;
  assert.equal(lines(), 10); // a fifth of what all identities have
  nowMs += 1000;
  await journal.until('log.lines_left_out', { of: 'publish.denied', reason: 'no_right', leftOut: 990 });
  assert((await metrics(broker)).includes('denials_total{action="publish",reason="no_right"} 1000'));
  const closed = once(client.socket, 'close');
  client.socket.destroy();
  await closed;
  await site.stop(broker);
});
