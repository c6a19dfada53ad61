import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, copyFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import test from 'node:test';
import type { ContentType } from '../../cms/envelope-info.ts';
import { createSealer } from '../../cms/seal.ts';
import type { Command, CommandResult } from '../../domain/command.ts';
import { decodeCommandResult, encodeCommand } from '../../domain/command.ts';
import { openOutbox } from '../../device-agent/outbox.ts';
import { mayCommand } from '../../policy/command-issuers.ts';
import type { Link } from '../../mqtt/link.ts';
import { RecordedLog } from '../runtime/recorded-log.ts';
import { devicePath, masterAccount, openMessage, Site } from './site.ts';
import type { Received } from './site.ts';

const device = devicePath('ms-acc-1/acc-1/dev-1');
const topic = `${device}/commands`;
const service = 'vendor-command-service';
const hourMs = 3_600_000;

interface Desk {
  readonly site: Site;
  readonly recorded: RecordedLog;
  readonly link: Link;
  readonly received: Received;
  readonly settings: object;
  readonly nowMs: () => number;
}

/** A site with an agent that obeys the command service, and the owner's client, which may publish and read there. */
async function openDesk(context: TestContext): Promise<Desk> {
  const site = new Site(context);
  await site.startBroker();
  for (const name of [masterAccount, device, service, 'vendor-snapshot-service']) await site.issue(name);
  const settings = {
    devices: [{ identity: path.join(site.folder, device) }],
    commandIssuers: [service, masterAccount].map((name) => issuerFolder(site, name)),
  };
  const { link, received } = await site.reader(masterAccount, 'owner', [`${device}/commands/result`]);
  return { site, recorded: new RecordedLog(), link, received, settings, nowMs: () => Date.now() };
}

/** Until its first subscription, nothing waits for a device. */
async function startListening(desk: Desk): Promise<void> {
  await desk.site.startAgent(desk.settings, desk.recorded.log);
  await desk.recorded.event('commands.subscribed');
}

function issuerFolder(site: Site, name: string): string {
  const folder = path.join(site.folder, 'issuers', name);
  mkdirSync(folder, { recursive: true });
  for (const file of ['sig.chain.pem', 'enc.chain.pem']) {
    copyFileSync(path.join(site.folder, name, file), path.join(folder, file));
  }
  return folder;
}

function ping(desk: Desk, expiresInMs = hourMs): Command {
  const issuedAtMs = desk.nowMs() - 10_000;
  return {
    id: randomUUID(),
    name: 'ping',
    issuedAtMs,
    expiresAtMs: desk.nowMs() + expiresInMs,
    parameters: {},
  };
}

interface SealAs {
  readonly issuer?: string;
  readonly sealedFor?: string;
  readonly topic?: string;
  readonly contentType?: ContentType;
  readonly content?: Uint8Array;
}

let sequence = 0;
function sealed(desk: Desk, command: Command, how: SealAs = {}): Buffer {
  const { signature, keyAgreement } = desk.site.identity(how.issuer ?? service);
  const recipient = desk.site.identity(how.sealedFor ?? device).keyAgreement.certificate;
  return createSealer({ signature, keyAgreement }).seal(how.content ?? encodeCommand(command), [recipient], {
    topic: how.topic ?? topic,
    sequence: ++sequence,
    previousDigest: undefined,
    contentType: how.contentType ?? 'command+cbor',
    signingTimeMs: desk.nowMs(),
  }).envelope;
}

async function nextResult(desk: Desk, reader = masterAccount): Promise<CommandResult> {
  const message = await desk.received.next('/commands/result');
  const opened = openMessage(desk.site.opener(reader, [device]), message);
  assert.equal(opened.contentType, 'command+cbor');
  return decodeCommandResult(opened.content);
}

test('mayCommand: the command service and the owners, nobody else', () => {
  for (const issuer of [service, 'ms-acc-1', 'ms-acc-1/acc-1']) assert.ok(mayCommand(issuer, device), issuer);
  for (const issuer of [
    'vendor-snapshot-service',
    'MRO-Admin',
    'ms-acc-10',
    'ms-acc-1/acc-2',
    device,
    'ms-acc-2',
  ]) {
    assert.ok(!mayCommand(issuer, device), issuer);
  }
});

test('command: a ping of the service is answered, readably for the issuer and the owner', async (context) => {
  const desk = await openDesk(context);
  await startListening(desk);
  const command = ping(desk);
  await desk.link.publish(topic, sealed(desk, command), { qos: 1 });
  const message = await desk.received.next('/commands/result');
  for (const reader of [masterAccount, service]) {
    const result = decodeCommandResult(openMessage(desk.site.opener(reader, [device]), message).content);
    assert.deepEqual([result.id, result.outcome, result.detail], [command.id, 'done', 'pong']);
  }
});

test('command: the owner may command too', async (context) => {
  const desk = await openDesk(context);
  await startListening(desk);
  await desk.link.publish(topic, sealed(desk, ping(desk), { issuer: masterAccount }), { qos: 1 });
  assert.equal((await nextResult(desk)).outcome, 'done');
});

test('command: sent while the agent is away, it is answered when the agent is back', async (context) => {
  const desk = await openDesk(context);
  await startListening(desk);
  await desk.link.publish(topic, sealed(desk, ping(desk)), { qos: 1 });
  await nextResult(desk);
  await desk.site.stopAgents();
  const late = ping(desk);
  await desk.link.publish(topic, sealed(desk, late), { qos: 1 });
  await desk.site.startAgent(desk.settings, desk.recorded.log);
  assert.equal((await nextResult(desk)).id, late.id);
});

test('command: an expired one is answered as such, and not executed', async (context) => {
  const desk = await openDesk(context);
  await startListening(desk);
  await desk.link.publish(topic, sealed(desk, ping(desk, -1000)), { qos: 1 });
  const result = await nextResult(desk);
  assert.equal(result.outcome, 'expired');
  assert.match(result.detail, /before it arrived/);
});

test('command: a redelivered one is answered with the stored result, and not executed again', async (context) => {
  const desk = await openDesk(context);
  await startListening(desk);
  const command = ping(desk);
  await desk.link.publish(topic, sealed(desk, command), { qos: 1 });
  const first = await nextResult(desk);
  await desk.site.stopAgents(); // by then the delivery of the result is stored
  await desk.link.publish(topic, sealed(desk, command), { qos: 1 });
  await desk.site.startAgent(desk.settings, desk.recorded.log);
  assert.deepEqual(await nextResult(desk), first);
  const answered = desk.recorded.records.filter((record) => record.event === 'command.answered');
  assert.equal(answered.length, 1);
});

test('command: one that a restart interrupted is refused, not executed again', async (context) => {
  const desk = await openDesk(context);
  const command = ping(desk);
  const file = path.join(desk.site.folder, 'agent-data', 'outbox.sqlite');
  const outbox = openOutbox({ file, envelopesMax: 10, whenFull: 'refuse' }, [device]);
  outbox.claimCommand(device, command.id, command.expiresAtMs, desk.nowMs());
  outbox.close();
  await startListening(desk);
  await desk.link.publish(topic, sealed(desk, command), { qos: 1 });
  const result = await nextResult(desk);
  assert.deepEqual([result.id, result.outcome], [command.id, 'refused']);
});

for (const [what, reason, how] of [
  ['of an issuer that is not configured', 'cms.untrusted_originator', { issuer: 'vendor-snapshot-service' }],
  ['sealed for another topic', 'cms.wrong_topic', { topic: 'ms-acc-1/acc-1/dev-2/commands' }],
  ['sealed for somebody else', 'cms.not_a_recipient', { sealedFor: masterAccount }],
  ['of another content type', 'command.not_a_command', { contentType: 'senml+cbor' }],
  ['that is nonsense inside', 'command.malformed', { content: Buffer.from('f6', 'hex') }],
] as const) {
  test(`command: one ${what} is refused with its reason, and the next one is taken`, async (context) => {
    const desk = await openDesk(context);
    await startListening(desk);
    await desk.link.publish(topic, sealed(desk, ping(desk), how), { qos: 1 });
    const record = await desk.recorded.event('command.refused');
    assert.deepEqual([record['device'], record['reason']], [device, reason]);
    const next = ping(desk);
    await desk.link.publish(topic, sealed(desk, next), { qos: 1 });
    assert.equal((await nextResult(desk)).id, next.id);
  });
}

test('command: bytes that are no envelope, and a changed one, are refused', async (context) => {
  const desk = await openDesk(context);
  await startListening(desk);
  await desk.link.publish(topic, Buffer.from('hello'), { qos: 1 });
  assert.equal((await desk.recorded.event('command.refused'))['reason'], 'cms.malformed');
  const changed = sealed(desk, ping(desk));
  changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
  await desk.link.publish(topic, changed, { qos: 1 });
  await desk.recorded.event('command.refused', (record) => record['reason'] === 'cms.rejected');
});
