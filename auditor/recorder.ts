/** Examines and records what leaves, many envelopes in one commit, and acknowledges after the commit. */
import type { Opener } from '../cms/open.ts';
import type { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Clock } from '../domain/clock.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin } from '../domain/namespace.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Outcome } from '../ledger/leaf.ts';
import { isOpened, streamOf } from '../ledger/stream.ts';
import type { Log } from '../runtime/log.ts';
import type { Counter, Metrics } from '../runtime/observe.ts';
import type { Archive } from './archive.ts';
import type { Passing } from './examine.ts';
import { examine } from './examine.ts';
import type { Gate } from './gate.ts';
import type { Decision, Grant, KnownRecipient, PolicyCheck, Verdict } from './policy-check.ts';
import type { Entry, EgressRecord, Recorded } from './record.ts';
import { RecordError } from './record.ts';

export interface RecorderOptions {
  readonly record: EgressRecord;
  readonly directory: OriginatorDirectory;
  readonly opener: Opener;
  readonly check: PolicyCheck;
  /** Undefined: it only looks on. */
  readonly gate: Gate | undefined;
  /** Undefined: no envelope is kept. */
  readonly archive: Archive | undefined;
  readonly lists: RevocationLists;
  /** How long an envelope waits for the certificates of its device. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
}

interface Taken {
  readonly passing: Passing;
  readonly acknowledge: () => void;
}

/** Envelopes that wait for certificates or lists; beyond it the oldest is recorded as it is. */
const waitingMax = 10_000;
const waitCheckMs = 250;
/** What may pass by itself: certificates that have not come yet, lists that are not there or too old. */
const transient: ReadonlySet<string> = new Set(['cms.untrusted_originator', 'pki.stale_crl']);

const outcomes = { release: 'released', hold: 'held', deny: 'denied' } as const satisfies Record<
  Decision,
  Outcome
>;

const noRoom: Verdict = {
  decision: 'deny',
  alarm: { reason: 'policy.too_many_held', detail: 'as many wait for a person as may' },
};

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #recorded: Counter;
  readonly #redeliveries: Counter;
  readonly #alarmed: Counter<'reason'>;
  readonly #timer: NodeJS.Timeout;
  /** Examined with the next commit. */
  #queue: Taken[] = [];
  #waiting: Taken[] = [];
  #flushPlanned = false;
  #stopped = false;
  #redelivered = 0;

  constructor(options: RecorderOptions) {
    const { metrics } = options;
    this.#options = options;
    this.#recorded = metrics.counter('plombe_auditor_recorded_total', 'envelopes recorded');
    this.#redeliveries = metrics.counter(
      'plombe_auditor_redelivered_total',
      'envelopes that were recorded before',
    );
    this.#alarmed = metrics.counter(
      'plombe_auditor_alarms_total',
      'envelopes and certificates that are not right',
      ['reason'],
    );
    this.#timer = setInterval(() => this.#giveUpWaiting(), waitCheckMs);
    this.#timer.unref();
  }

  state(): { entries: number; alarms: number; redelivered: number; waiting: number } {
    const counts = this.#options.record.counts();
    return { ...counts, redelivered: this.#redelivered, waiting: this.#waiting.length };
  }

  /** @param acknowledge - called when the entry is durable */
  take(passing: Omit<Passing, 'receivedMs'>, acknowledge: () => void): void {
    if (this.#stopped) return; // not acknowledged, so it comes again
    this.#queue.push({ passing: { ...passing, receivedMs: this.#options.clock() }, acknowledge });
    this.#planFlush();
  }

  /** What waited for these is examined now. @throws PkiError, DeviceCertificatesError */
  takeCertificates(device: string, payload: Buffer): void {
    const { directory, record, clock } = this.#options;
    if (this.#stopped || !directory.publish(device, decodeDeviceCertificates(payload), clock())) return;
    record.index.addCertificates(device, payload, clock());
    this.#examineAgain(({ passing }) => passing.device === device);
  }

  /** What waited for newer lists is examined now. */
  takeLists(payload: Buffer): void {
    if (!this.#stopped && this.#options.lists.take(payload)) this.#examineAgain(() => true);
  }

  /** Certificates that are not to be trusted are an alarm, and leave no entry: nothing left. */
  refuseCertificates(device: string, reason: string, detail: string): void {
    this.#alarmed.inc({ reason });
    this.#options.log.warn({ device, reason, detail }, 'certificates.refused');
  }

  /** The broker sends again whatever was not acknowledged on the connection that is gone. */
  forgetUnrecorded(): void {
    this.#queue = [];
    this.#waiting = [];
  }

  /** Records what came; what waits for certificates is not acknowledged, and comes again. */
  stop(): void {
    clearInterval(this.#timer);
    this.#flush();
    this.#stopped = true;
  }

  #examineAgain(concerns: (taken: Taken) => boolean): void {
    this.#queue.unshift(...this.#waiting.filter(concerns));
    this.#waiting = this.#waiting.filter((taken) => !concerns(taken));
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushPlanned = false;
    const queue = this.#queue;
    this.#queue = [];
    const { clock, waitMs } = this.#options;
    const patientSinceMs = clock() - waitMs;
    const ready: { taken: Taken; entry: Entry }[] = [];
    for (const taken of queue) {
      const entry = this.#examine(taken, ready);
      const mayWait = taken.passing.receivedMs > patientSinceMs && this.#waiting.length < waitingMax;
      const { alarm } = entry.passage;
      if (alarm !== undefined && transient.has(alarm.reason) && mayWait) this.#waiting.push(taken);
      else ready.push({ taken, entry });
    }
    if (ready.length > 0) this.#append(ready);
  }

  /** What is in the same commit counts as recorded before it. */
  #examine({ passing }: Taken, ready: readonly { entry: Entry }[]): Entry {
    const { opener, check, gate, lists, record } = this.#options;
    const grant = check.grantFor(passing.device, passing.topic);
    const isCommand = passing.content === 'command';
    const entry = examine(passing, {
      opener,
      recipients: isCommand ? this.#readersOfCommands(passing.device, grant) : grant.recipients,
      lists,
      digestsOf: (stream, sequence) => [
        ...record.index.digestsOf(stream, sequence),
        ...ready.flatMap(({ entry: { passage } }) =>
          passage.sequence === sequence && streamOf(passage) === stream && isOpened(passage)
            ? [passage.digest]
            : [],
        ),
      ],
    });
    const judged = check.judge(entry, grant);
    const { decision, alarm } = judged.decision === 'hold' && gate?.hasRoom === false ? noRoom : judged;
    const outcome = gate !== undefined && passing.waits ? outcomes[decision] : 'passed';
    return { ...entry, passage: { ...entry.passage, outcome, alarm, policy: grant.number } };
  }

  /** The device, by the certificate that it published last, and its owner's own. */
  #readersOfCommands(device: NamespacePath, { recipients }: Grant): KnownRecipient[] {
    const originator = this.#options.directory.newestOf(device);
    const own = recipients.filter(({ name }) => isWithin(device, name));
    if (originator === undefined) return own;
    const verified = originator.paths?.find(({ chain: [leaf] }) =>
      leaf.der.equals(originator.keyAgreement.der),
    );
    return [...own, { name: device, certificate: originator.keyAgreement, verified }];
  }

  #append(ready: readonly { taken: Taken; entry: Entry }[]): void {
    const { record, log } = this.#options;
    let recorded: Recorded[];
    try {
      this.#hold(ready);
      recorded = record.append(ready.map(({ entry }) => entry));
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      // Not acknowledged, so nothing is lost: the broker keeps it, and we try again.
      log.error({ reason: error.code, detail: error.message, entries: ready.length }, 'record.failed');
      this.#waiting.push(...ready.map(({ taken }) => taken));
      return;
    }
    this.#archive(ready, recorded);
    for (const [index, { taken, entry }] of ready.entries()) {
      const { number, outcome } = recorded[index] ?? { outcome: 'denied' };
      if (number !== undefined) this.#count(entry);
      else {
        this.#redelivered += 1;
        this.#redeliveries.inc();
      }
      if (outcome === 'released' && taken.passing.waits) this.#release(taken);
      else taken.acknowledge();
    }
  }

  /** What came before is there already; what could not be opened is worth no room. */
  #archive(
    ready: readonly { readonly taken: Taken; readonly entry: Entry }[],
    recorded: readonly Recorded[],
  ): void {
    const fresh = ready.flatMap(({ taken: { passing }, entry: { passage } }, index) => {
      const number = recorded[index]?.number;
      if (number === undefined || !isOpened(passage)) return [];
      const { device, content, topic, envelope, receivedMs } = passing;
      const kind = content === 'snapshot' ? content : 'command';
      return [{ number, device, kind, topic, receivedMs, envelope } as const];
    });
    if (fresh.length > 0) this.#options.archive?.keep(fresh);
  }

  /** It is on the disk before the ledger says so; one that is there already, or was decided, stays as it is. */
  #hold(ready: readonly { readonly taken: Taken; readonly entry: Entry }[]): void {
    const { gate, record } = this.#options;
    for (const { taken, entry } of ready) {
      const { passage } = entry;
      if (gate === undefined || passage.outcome !== 'held') continue;
      const known = record.outcomeOf(passage);
      if (known === undefined || known === 'held') gate.hold(taken.passing.envelope, passage);
    }
  }

  /** Acknowledged once the broker has it where the cascade takes it from; until then it comes again. */
  #release(taken: Taken): void {
    const { gate, log } = this.#options;
    const { topic, envelope, content } = taken.passing;
    // Something that was released while this auditor enforced passes by itself now.
    if (gate === undefined) return taken.acknowledge();
    const gone = content === 'command' ? gate.deliver(topic, envelope) : gate.release(topic, envelope);
    gone.then(taken.acknowledge, (error: unknown) => {
      if (this.#stopped) return; // not acknowledged, so it comes again
      log.error({ topic, error: String(error) }, 'release.failed');
      this.#waiting.push(taken);
    });
    return undefined;
  }

  #count({ passage: { topic, sequence, alarm } }: Entry): void {
    this.#recorded.inc();
    if (alarm === undefined) return;
    this.#alarmed.inc({ reason: alarm.reason });
    this.#options.log.warn({ topic, sequence, ...alarm }, 'audit.alarm');
  }

  /** Also what could not be stored is tried again here. */
  #giveUpWaiting(): void {
    const { clock, waitMs } = this.#options;
    const patientSinceMs = clock() - waitMs;
    const late = this.#waiting.filter(({ passing }) => passing.receivedMs <= patientSinceMs);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter(({ passing }) => passing.receivedMs > patientSinceMs);
    this.#queue.push(...late);
    this.#planFlush();
  }
}
