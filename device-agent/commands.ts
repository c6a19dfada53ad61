/** Commands to one device: opened, checked, executed at most once, answered with a sealed result. */
import { CmsError } from '../cms/errors.ts';
import { requireUnrevoked } from '../cms/in-force.ts';
import type { OpenedEnvelope, Opener } from '../cms/open.ts';
import type { Clock } from '../domain/clock.ts';
import type { Command, CommandOutcome, CommandResult } from '../domain/command.ts';
import { CommandError, decodeCommand, encodeCommandResult } from '../domain/command.ts';
import type { NamespacePath } from '../domain/namespace.ts';
import type { ReceivedMessage } from '../mqtt/inbox.ts';
import type { Certificate } from '../pki/certificate.ts';
import { PkiError } from '../pki/errors.ts';
import type { RevocationLists } from '../pki/revocation-lists.ts';
import { mayCommand } from '../policy/command-issuers.ts';
import type { Log } from '../runtime/log.ts';
import type { AgentMeasures } from './measures.ts';
import { KeySlotsError } from './key-slots/errors.ts';
import type { Outbox } from './outbox.ts';
import { OutboxError } from './outbox-store.ts';
import type { DeviceSealer } from './device-sealer.ts';
import { ReadersError } from './readers.ts';

export interface CommandHandlerOptions {
  readonly device: NamespacePath;
  readonly opener: Opener;
  readonly sealer: DeviceSealer;
  readonly lists: RevocationLists;
  readonly outbox: Outbox;
  readonly measures: AgentMeasures;
  readonly clock: Clock;
  readonly log: Log;
}

/** Why a message on the command topic was not taken for a command; the `cms.…` codes say the rest. */
type Refusal =
  | 'command.malformed'
  | 'command.foreign_issuer'
  | 'command.not_a_command'
  | 'command.issuer_expired'
  | 'command.issuer_revoked'
  | 'command.issuer_unverifiable'; // a revocation list is not there or too old, and the policy is to refuse

class CommandRefusal extends Error {
  override readonly name = 'CommandRefusal';
  readonly code: Refusal;
  constructor(code: Refusal, message: string) {
    super(message);
    this.code = code;
  }
}

export class CommandHandler {
  readonly #options: CommandHandlerOptions;
  /** Ids between their claim and their result. */
  readonly #executing = new Set<string>();

  constructor(options: CommandHandlerOptions) {
    this.#options = options;
  }

  /**
   * Takes a message. It is acknowledged to the broker when the answer is durable, or when it is no command for us
   * and would be none the next time either.
   */
  async handle(message: ReceivedMessage, acknowledge: () => void): Promise<void> {
    const { device, measures, log } = this.#options;
    try {
      const { command, issuer } = this.#read(message);
      if (await this.#answer(command, issuer)) acknowledge();
    } catch (error) {
      if (error instanceof OutboxError || error instanceof ReadersError || error instanceof KeySlotsError) {
        // Not acknowledged: the broker sends it again on the next connect.
        log.error({ device, reason: error.code, detail: error.message }, 'command.not_stored');
        return;
      }
      if (!(error instanceof CmsError || error instanceof CommandRefusal)) throw error;
      measures.refusedCommands.inc({ reason: error.code });
      log.warn({ device, reason: error.code, detail: error.message }, 'command.refused');
      acknowledge();
    }
  }

  #read(message: ReceivedMessage): { command: Command; issuer: Certificate } {
    const { device, opener, lists, sealer, clock } = this.#options;
    const opened = opener.open(message.payload, { expectedTopic: message.topic });
    const nowMs = clock();
    requireIssuer(opened, device, nowMs);
    requireUnrevokedIssuer(opened, lists, nowMs);
    sealer.requireReady(); // before anything is done that could not be answered
    try {
      return { command: decodeCommand(opened.content), issuer: opened.originator.keyAgreement };
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new CommandRefusal('command.malformed', error.message);
    }
  }

  /** @returns whether the message may be acknowledged */
  async #answer(command: Command, issuer: Certificate): Promise<boolean> {
    const { device, outbox, clock, log } = this.#options;
    if (this.#executing.has(command.id)) return true;
    const known = outbox.claimCommand(device, command.id, command.expiresAtMs, clock());
    if (known?.resultPending === true) return true;
    if (known !== undefined) log.info({ device, command: command.id }, 'command.redelivered');
    this.#executing.add(command.id);
    try {
      await this.#putResult(
        known === undefined ? this.#execute(command) : this.#repeated(command, known.result),
        issuer,
      );
    } finally {
      this.#executing.delete(command.id);
    }
    return true;
  }

  #execute(command: Command): CommandResult {
    const { device, sealer, clock, measures, log } = this.#options;
    const finishedAtMs = clock();
    const refusal = sealer.refusalOf(command.name);
    const outcome: CommandOutcome =
      finishedAtMs >= command.expiresAtMs ? 'expired' : refusal === undefined ? 'done' : 'refused';
    measures.commands.inc({ outcome });
    log.info({ device, command: command.id, name: command.name, outcome }, 'command.answered');
    if (outcome === 'expired') {
      const expiry = new Date(command.expiresAtMs).toISOString();
      return { id: command.id, outcome, finishedAtMs, detail: `it expired at ${expiry}, before it arrived` };
    }
    if (refusal !== undefined) return { id: command.id, outcome, finishedAtMs, detail: refusal };
    // `ping` is the only name that decodeCommand lets through; its answer is all it does.
    return { id: command.id, outcome, finishedAtMs, detail: 'pong' };
  }

  /** What was begun before a restart may have been done or not: it is not done twice. */
  #repeated(command: Command, result: CommandResult | undefined): CommandResult {
    if (result !== undefined) return result;
    this.#options.measures.commands.inc({ outcome: 'refused' });
    const detail = 'a restart interrupted it, and it is not executed twice';
    return { id: command.id, outcome: 'refused', finishedAtMs: this.#options.clock(), detail };
  }

  async #putResult(result: CommandResult, issuer: Certificate): Promise<void> {
    const { device, outbox, sealer } = this.#options;
    const content = encodeCommandResult(result);
    await outbox.putResult(device, result, (place) => sealer.sealResult(content, issuer, place));
  }
}

function requireIssuer(opened: OpenedEnvelope, device: NamespacePath, nowMs: number): void {
  const { originator, contentType, topic } = opened;
  if (!mayCommand(originator.commonName, device)) {
    throw new CommandRefusal('command.foreign_issuer', `${originator.commonName} may not command ${device}`);
  }
  if (topic === undefined || contentType !== 'command+cbor') {
    throw new CommandRefusal('command.not_a_command', `content is ${contentType ?? 'of no stated type'}`);
  }
  for (const certificate of [originator.signature, originator.keyAgreement]) {
    if (certificate === undefined || nowMs > certificate.notAfterMs || nowMs < certificate.notBeforeMs) {
      throw new CommandRefusal(
        'command.issuer_expired',
        `a certificate of ${originator.commonName} is not valid now`,
      );
    }
  }
}

function requireUnrevokedIssuer({ originator }: OpenedEnvelope, lists: RevocationLists, nowMs: number): void {
  try {
    requireUnrevoked(originator, nowMs, lists);
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    const code = error.code === 'pki.revoked' ? 'command.issuer_revoked' : 'command.issuer_unverifiable';
    throw new CommandRefusal(code, error.message);
  }
}
