/** The policies that spoke of a device since this auditor keeps them: its own, and those above it. */
import type { NamespacePath } from '../domain/namespace.ts';
import { isWithin } from '../domain/namespace.ts';
import type { SharingLimits } from '../domain/policy.ts';
import { timeCell } from './csv.ts';
import type { ExportSource, Row } from './export-source.ts';
import type { PastPolicy } from './policy-history.ts';

const policiesMax = 10_000;

/** A row a group of readers, the newest policy first; one of a policy that says nothing about readers. */
export function* policyRows({ policyHistory }: ExportSource, device: NamespacePath): Generator<Row> {
  for (const past of policyHistory.list(policiesMax)) {
    if (isWithin(device, past.policy.path) || isWithin(past.policy.path, device)) yield* rowsOf(past);
  }
}

function* rowsOf({ policy, signer, signedMs, takenMs }: PastPolicy): Generator<Row> {
  const { path, number, validFromMs, validUntilMs, readers, limits, commands } = policy;
  const common = {
    path,
    number,
    signer,
    signed: timeCell(signedMs),
    taken: timeCell(takenMs),
    from: timeCell(validFromMs),
    until: timeCell(validUntilMs),
    commands: commands?.join(' '),
  };
  if (readers === undefined) yield { ...common, limits: limitsText(limits) };
  for (const [group, { recipients, channels, limits: own }] of Object.entries(readers ?? {})) {
    yield {
      ...common,
      group,
      recipients: recipients?.map(({ name }) => name).join('; '),
      auto: channels?.auto.join(' '),
      ask: channels?.ask.join(' '),
      deny: channels?.deny.join(' '),
      limits: limitsText({ ...limits, ...own }),
    };
  }
}

function limitsText(limits: SharingLimits): string {
  return Object.entries(limits)
    .map(([name, limit]) => `${name} ${limit}`)
    .join('; ');
}
