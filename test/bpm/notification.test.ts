import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createLog } from '../../runtime/log.ts';
import { listNotifications } from '../../database/processes-lists.ts';
import type { NotificationOutcome, Transport } from '../../bpm/notification.ts';
import { createHttpTransport, createMailTransport, sendDue } from '../../bpm/notification.ts';
import { startMailServer } from './mail-server.ts';
import { createPlant } from './plant.ts';
import type { Plant } from './plant.ts';

const device = 'm-1/a-1/d-1';
const minuteMs = 60_000;

function send(plant: Plant, transport: Transport, random = () => 0.5): Promise<NotificationOutcome[]> {
  return sendDue({
    database: plant.database,
    transports: [transport],
    clock: () => plant.nowMs,
    random,
    log: createLog('test', 'silent'),
  });
}

async function stateOf(plant: Plant): Promise<readonly [string, number] | undefined> {
  const [row] = await listNotifications(plant.database, '', 1);
  return row === undefined ? undefined : [row.state, row.attempts];
}

void test('sendDue: a mail leaves once, with who, what and a stable Message-ID', async (context) => {
  const plant = await createPlant(context, 'sqlite');
  const mailbox = await startMailServer(context);
  const transport = createMailTransport(mailbox.url, 'Plombe <plombe@example.org>');
  context.after(() => transport.close());
  await plant.report(device, 0);
  await plant.judge();
  assert.deepEqual(await send(plant, transport), ['sent']);
  assert.deepEqual(await send(plant, transport), []);
  const [row] = await listNotifications(plant.database, '', 1);
  const [mail, second] = mailbox.mails;
  assert.equal(second, undefined);
  assert.match(mail ?? '', new RegExp(`^Message-ID: <${row?.id}@example.org>`, 'im'));
  assert.match(mail ?? '', /^To: list@example.org/im);
  assert.match(mail ?? '', /^Subject: m-1\/a-1\/d-1: Report normal operation/im);
  assert.match(mail ?? '', /works normally/);
  assert.deepEqual(await stateOf(plant), ['sent', 1]);
});

void test('sendDue: a temporary refusal is tried again later, and not before', async (context) => {
  const plant = await createPlant(context, 'sqlite');
  const mailbox = await startMailServer(context);
  const transport = createMailTransport(mailbox.url, 'plombe@example.org');
  context.after(() => transport.close());
  await plant.report(device, 0);
  await plant.judge();
  mailbox.reply = 451;
  assert.deepEqual(await send(plant, transport), ['retried']);
  assert.deepEqual(await stateOf(plant), ['pending', 1]);
  assert.deepEqual(await send(plant, transport), []);
  mailbox.reply = 250;
  plant.nowMs += minuteMs;
  assert.deepEqual(await send(plant, transport), ['sent']);
  assert.equal(mailbox.mails.length, 1);
});

void test('sendDue: a refusal for good is not tried again', async (context) => {
  const plant = await createPlant(context, 'sqlite');
  const mailbox = await startMailServer(context);
  const transport = createMailTransport(mailbox.url, 'plombe@example.org');
  context.after(() => transport.close());
  await plant.report(device, 0);
  await plant.judge();
  mailbox.reply = 550;
  assert.deepEqual(await send(plant, transport), ['failed']);
  assert.deepEqual(await stateOf(plant), ['failed', 1]);
});

void test('sendDue: attempts are bounded', async (context) => {
  const plant = await createPlant(context, 'sqlite');
  await plant.report(device, 0);
  await plant.judge();
  const broken: Transport = {
    channel: 'mail',
    send: () => Promise.reject(new Error('down')),
    close: () => {},
  };
  const outcomes: NotificationOutcome[] = [];
  for (let hours = 0; hours < 30; hours++) {
    outcomes.push(...(await send(plant, broken)));
    plant.nowMs += 60 * minuteMs;
  }
  assert.deepEqual(outcomes, [...Array.from({ length: 7 }, () => 'retried'), 'failed']);
});

void test('sendDue: a program that dies while sending leaves the message to the next, with the same id', async (context) => {
  const plant = await createPlant(context, 'sqlite');
  await plant.report(device, 0);
  await plant.judge();
  const ids: string[] = [];
  const dying: Transport = {
    channel: 'mail',
    send: ({ id }) => {
      ids.push(id);
      return new Promise(() => {});
    },
    close: () => {},
  };
  void send(plant, dying);
  const taking: Transport = {
    channel: 'mail',
    send: ({ id }) => {
      ids.push(id);
      return Promise.resolve();
    },
    close: () => {},
  };
  while (ids.length === 0) await new Promise(setImmediate);
  assert.deepEqual(await send(plant, taking), [], 'the first may still be at it');
  plant.nowMs += 10 * minuteMs;
  assert.deepEqual(await send(plant, taking), ['sent']);
  assert.equal(ids[0], ids[1]);
  assert.deepEqual(await stateOf(plant), ['sent', 2]);
});

void test('createHttpTransport: posts JSON with an idempotency key; 4xx is for good, 5xx and 429 are for later', async (context) => {
  const requests: { headers: Record<string, unknown>; body: string }[] = [];
  let status = 204;
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += String(part)));
    request.on('end', () => {
      requests.push({ headers: request.headers, body });
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  context.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sms`;
  const transport = createHttpTransport('sms', url, 'secret');
  const plant = await createPlant(context, 'sqlite');
  await plant.report(device, 17, 17);
  await plant.judge();
  const [row] = await listNotifications(plant.database, '', 1);
  for (const [answer, outcome] of [
    [503, 'retried'],
    [429, 'retried'],
    [204, 'sent'],
  ] as const) {
    status = answer;
    assert.deepEqual(await send(plant, transport), [outcome], String(answer));
    plant.nowMs += 60 * minuteMs;
  }
  assert.equal(requests[0]?.headers['idempotency-key'], row?.id);
  assert.equal(requests[0]?.headers['authorization'], 'Bearer secret');
  assert.deepEqual(JSON.parse(requests[0]?.body ?? ''), {
    id: row?.id,
    to: '+49 30 1',
    subject: `${device}: Alert the technician`,
    text: row?.body,
  });
});
