/** Examines and records what leaves, many envelopes in one commit, and acknowledges after the commit. */
import type { OriginatorDirectory } from '../cms/originator-directory.ts';
import type { Clock } from '../domain/clock.ts';
import { decodeDeviceCertificates } from '../domain/device-certificates.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import type { Outcome } from '../ledger/leaf.ts';
import { isOpened, streamOf } from '../ledger/stream.ts';
import type { Log } from '../runtime/log.ts';
import type { Counter, Metrics } from '../runtime/observe.ts';
import type { Archive } from './archive.ts';
import type { Passing } from './examine.ts';
import type { Gate } from './gate.ts';
import type { Judge, Ready } from './judge.ts';
import type { Obedience } from './obedience.ts';
import type { Decision, Verdict } from './policy-check.ts';
import type { Entry, EgressRecord, Recorded } from './record.ts';
import { RecordError } from './record.ts';

export interface RecorderOptions {
  readonly record: EgressRecord;
  readonly directory: OriginatorDirectory;
  readonly judge: Judge;
  readonly obedience: Obedience;
  /** Undefined: it only looks on. */
  readonly gate: Gate | undefined;
  /** Undefined: no envelope is kept. */
  readonly archive: Archive | undefined;
  readonly lists: RevocationLists;
  /** How long an envelope waits for the certificates of its device, and for what may change its verdict. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly log: Log;
}

interface Taken {
  readonly passing: Passing;
  readonly acknowledge: () => void;
}

/** Envelopes that wait for what may change their verdict; beyond it they are recorded as they are. */
const waitingMax = 10_000;
const waitCheckMs = 250;
const unspokenOfMax = 1000;
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
  readonly #gaps: Counter;
  readonly #timer: NodeJS.Timeout;
  /** Examined with the next commit. */
  #queue: Taken[] = [];
  #waiting: Taken[] = [];
  #flushPlanned = false;
  #isPaused = false;
  /** The disk took nothing: whatever comes meanwhile stays behind what came before. */
  #isFailing = false;
  #stopped = false;
  #redelivered = 0;
  /** Devices of which that was said. */
  readonly #unspokenOf = new Set<NamespacePath>();

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
    this.#gaps = metrics.counter(
      'plombe_auditor_gaps_total',
      'times that numbers of a device turned out to be missing',
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
    const { directory, record, clock, log } = this.#options;
    if (this.#stopped || !directory.publish(device, decodeDeviceCertificates(payload), clock())) return;
    try {
      record.keepCertificates(device, payload, clock());
    } catch (error) {
      // They count all the same, and come again after a restart.
      if (!(error instanceof RecordError)) throw error;
      log.error({ device, reason: error.code, detail: error.message }, 'certificates.not_kept');
    }
    this.#examineAgain(({ passing }) => passing.device === device);
  }

  /** What waited for what its device says of policies is examined now. */
  takeStatus(device: NamespacePath, payload: Buffer): void {
    if (this.#stopped || !this.#options.obedience.take(device, payload)) return;
    this.#examineAgain(({ passing }) => passing.device === device);
  }

  /** What waited for a newer policy is examined now. */
  policiesChanged(): void {
    if (!this.#stopped) this.#examineAgain(() => true);
  }

  /** What the broker keeps comes first, policies and certificates: until then nothing is examined. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#stopped) this.#planFlush();
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
    this.#isFailing = false;
  }

  /** Records what came; what waits for certificates is not acknowledged, and comes again. */
  stop(): void {
    clearInterval(this.#timer);
    if (!this.#isPaused) this.#flush();
    this.#stopped = true;
  }

  #examineAgain(concerns: (taken: Taken) => boolean): void {
    this.#queue.unshift(...this.#waiting.filter(concerns));
    this.#waiting = this.#waiting.filter((taken) => !concerns(taken));
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#flushPlanned || this.#isPaused || this.#isFailing) return;
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
      const { entry, mayChange } = this.#judge(taken, ready);
      const mayWait = taken.passing.receivedMs > patientSinceMs && this.#waiting.length < waitingMax;
      if (mayChange && mayWait) this.#waiting.push(taken);
      else ready.push({ taken, entry });
    }
    if (ready.length > 0) this.#append(ready);
  }

  #judge({ passing }: Taken, ready: Ready): { readonly entry: Entry; readonly mayChange: boolean } {
    const { judge, gate } = this.#options;
    const { entry, verdict, mayChange } = judge.judge(passing, ready);
    const { decision, alarm } = verdict.decision === 'hold' && gate?.hasRoom === false ? noRoom : verdict;
    const outcome = gate !== undefined && passing.waits ? outcomes[decision] : 'passed';
    return { entry: { ...entry, passage: { ...entry.passage, outcome, alarm } }, mayChange };
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
      if (!this.#isFailing)
        log.error({ reason: error.code, detail: error.message, entries: ready.length }, 'record.failed');
      this.#isFailing = true;
      this.#queue.unshift(...ready.map(({ taken }) => taken));
      return;
    }
    this.#isFailing = false;
    this.#archive(ready, recorded);
    this.#account(ready, recorded);
    this.#tellGaps();
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

  #tellUnspokenOf(device: NamespacePath): void {
    if (this.#unspokenOf.has(device) || this.#unspokenOf.size >= unspokenOfMax) return;
    this.#unspokenOf.add(device);
    this.#options.log.warn({ device, hint: 'no policy speaks of it, so a person has to' }, 'policy.missing');
  }

  #account(ready: Ready, recorded: readonly Recorded[]): void {
    const { record, log } = this.#options;
    try {
      for (const [place, { entry }] of ready.entries()) {
        const { passage, use } = entry;
        if (use !== undefined && recorded[place]?.number !== undefined)
          record.keepUse(streamOf(passage), use);
      }
    } catch (error) {
      // It is in the ledger already, so it goes on its way.
      if (!(error instanceof RecordError)) throw error;
      log.error({ reason: error.code, detail: error.message, entries: ready.length }, 'record.failed');
    }
  }

  /** A number that is missing is told when a later one comes, and again when it has come after all. */
  #tellGaps(): void {
    const { record, log } = this.#options;
    for (const { kind, ...gap } of record.index.numbers.takeNews()) {
      if (kind === 'closed') log.info(gap, 'audit.gap_closed');
      else {
        this.#gaps.inc();
        log.warn(gap, 'audit.gap');
      }
    }
  }

  /** It is on the disk before the ledger says so; one that is there already, or was decided, stays as it is. */
  #hold(ready: readonly { readonly taken: Taken; readonly entry: Entry }[]): void {
    const { gate, record } = this.#options;
    for (const { taken, entry } of ready) {
      const { passage } = entry;
      if (gate === undefined || passage.outcome !== 'held') continue;
      const known = record.outcomeOf(passage);
      if (known !== undefined && known !== 'held') continue;
      gate.hold(taken.passing.envelope, passage, entry.command?.expiresAtMs);
      if (entry.isUnspokenOf) this.#tellUnspokenOf(taken.passing.device);
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
    if (this.#isFailing && !this.#isPaused) this.#flush();
    const nowMs = this.#options.clock();
    this.#waiting = this.#waiting.map((taken) => sinceNowAtMost(taken, nowMs));
    const patientSinceMs = nowMs - this.#options.waitMs;
    const late = this.#waiting.filter(({ passing }) => passing.receivedMs <= patientSinceMs);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter(({ passing }) => passing.receivedMs > patientSinceMs);
    this.#queue.push(...late);
    this.#planFlush();
  }
}

/** By a clock that was set back it would come later still, and wait for as long. */
function sinceNowAtMost(taken: Taken, nowMs: number): Taken {
  if (taken.passing.receivedMs <= nowMs) return taken;
  return { ...taken, passing: { ...taken.passing, receivedMs: nowMs } };
}
