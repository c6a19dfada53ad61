/** A policy as a person writes it: YAML, every fault with its line. */
import { LineCounter, isCollection, isNode, isPair, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import { z } from 'zod';
import { errorText } from './error-text.ts';
import type { Policy, PolicyFault, PolicyRecipient, ReaderGroup } from './policy.ts';
import {
  channelsType,
  commandsType,
  encodePolicy,
  groupNameType,
  limitsType,
  numberType,
  ownerType,
  pathText,
  pathType,
  PolicyError,
  readersMaxType,
  recipientNameType,
  recipientsPerGroup,
} from './policy.ts';

/**
 * @param file - as the policy names it, relative to where the policy is
 * @returns DER, leaf first
 * @throws Error whose message says what is wrong with it
 */
export type ReadCertificates = (file: string) => readonly Uint8Array[];

const policyTextMax = 256 * 1024;

const timeType = z.iso
  .datetime({ offset: true, error: 'a time such as 2027-12-31T23:59:59Z' })
  .transform((text) => Date.parse(text));
const fileNameType = z.string().min(1);
const writtenRecipientType = z.union(
  [
    recipientNameType,
    z.strictObject({ name: recipientNameType, certificate: fileNameType }),
    z.strictObject({ name: recipientNameType, pinned: fileNameType }),
  ],
  { error: 'a name, or name and certificate (of our tree), or name and pinned (of anybody)' },
);
type WrittenRecipient = z.infer<typeof writtenRecipientType>;

const fileType = z.strictObject({
  for: pathType,
  number: numberType,
  issuer: ownerType.exactOptional(),
  validFrom: timeType.exactOptional(),
  validUntil: timeType.exactOptional(),
  readers: z
    .record(
      groupNameType,
      z.strictObject({
        recipients: z
          .array(writtenRecipientType)
          .min(recipientsPerGroup.min)
          .max(recipientsPerGroup.max)
          .exactOptional(),
        channels: channelsType.exactOptional(),
        limits: limitsType.default({}),
      }),
    )
    .refine(readersMaxType.check, { error: readersMaxType.error })
    .exactOptional(),
  limits: limitsType.default({}),
  commands: z
    .union(
      [commandsType, z.strictObject({ auto: commandsType.default([]), ask: commandsType.default([]) })],
      {
        error: 'names of commands such as [ping], or { auto: [ping], ask: [calibrate] }',
      },
    )
    .exactOptional(),
});
type WrittenPolicy = z.infer<typeof fileType>;

/**
 * Reads a policy file.
 *
 * @throws PolicyError with every fault at once, each with its line
 */
export function parsePolicyFile(text: string, readCertificates: ReadCertificates): Policy {
  if (text.length > policyTextMax) {
    throw new PolicyError([{ path: '', message: `at most ${policyTextMax} characters are read` }]);
  }
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter,
    uniqueKeys: true,
    prettyErrors: false,
    logLevel: 'error', // what is odd becomes a fault of ours, not a line on somebody's terminal
  });
  if (document.errors.length > 0) {
    throw new PolicyError(
      document.errors.map(({ pos, message }) => ({
        line: lineCounter.linePos(pos[0]).line,
        path: '',
        message,
      })),
    );
  }
  const at = (path: readonly PropertyKey[], message: string): PolicyFault => {
    const line = lineOf(document, path, lineCounter);
    return { ...(line === undefined ? {} : { line }), path: pathText(path), message };
  };
  const written = requireWritten(document, at);
  const faults: PolicyFault[] = [];
  const policy = policyOf(written, (file, path) => {
    try {
      return readCertificates(file);
    } catch (error) {
      faults.push(at(path, errorText(error)));
      return [];
    }
  });
  if (faults.length > 0) throw new PolicyError(faults);
  try {
    encodePolicy(policy);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new PolicyError(error.faults.map(({ path, message }) => at(partsOf(path), message)));
  }
  return policy;
}

function requireWritten(
  document: Document,
  at: (path: readonly PropertyKey[], message: string) => PolicyFault,
): WrittenPolicy {
  let plain: unknown;
  try {
    plain = document.toJS({ maxAliasCount: 0 }) ?? {};
  } catch {
    throw new PolicyError([{ path: '', message: 'anchors and aliases are not read: write it out' }]);
  }
  const result = fileType.safeParse(plain, {
    error: (issue) => (issue.code === 'invalid_type' && issue.input === undefined ? 'is missing' : undefined),
  });
  if (result.success) return result.data;
  const faults = result.error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => at([...issue.path, key], 'no such setting'));
    }
    const said = issue.code === 'invalid_key' ? issue.issues[0]?.message : undefined;
    return [at(issue.path, said ?? issue.message)];
  });
  throw new PolicyError(faults.toSorted((one, other) => (one.line ?? 0) - (other.line ?? 0)));
}

type ReadAt = (file: string, path: readonly PropertyKey[]) => readonly Uint8Array[];

function policyOf(written: WrittenPolicy, read: ReadAt): Policy {
  const { for: path, number, validFrom, validUntil, readers, limits, commands } = written;
  const { issuer = ownerType.parse(levelsOf(path).slice(0, 2).join('/')) } = written;
  return {
    path,
    number,
    issuer,
    limits,
    ...(validFrom === undefined ? {} : { validFromMs: validFrom }),
    ...(validUntil === undefined ? {} : { validUntilMs: validUntil }),
    ...(readers === undefined
      ? {}
      : {
          readers: Object.fromEntries(
            Object.entries(readers).map(([name, group]) => [name, groupOf(name, group, read)]),
          ),
        }),
    ...(commands === undefined ? {} : commandsOf(commands)),
  };
}

function commandsOf(
  written: NonNullable<WrittenPolicy['commands']>,
): Pick<Policy, 'commands' | 'askedCommands'> {
  if (Array.isArray(written)) return { commands: written };
  const { auto, ask } = written;
  return { commands: [...auto, ...ask], ...(ask.length === 0 ? {} : { askedCommands: ask }) };
}

function levelsOf(path: string): readonly string[] {
  return path.split('/');
}

function groupOf(
  name: string,
  { recipients, channels, limits }: NonNullable<WrittenPolicy['readers']>[string],
  read: ReadAt,
): ReaderGroup {
  return {
    limits,
    ...(channels === undefined ? {} : { channels }),
    ...(recipients === undefined
      ? {}
      : {
          recipients: recipients.map((recipient, index) =>
            recipientOf(recipient, (file) => read(file, ['readers', name, 'recipients', index])),
          ),
        }),
  };
}

function recipientOf(written: WrittenRecipient, read: ReadCertificates): PolicyRecipient {
  if (typeof written === 'string') return { name: written, trust: 'configured', certificates: [] };
  const { name } = written;
  return 'certificate' in written
    ? { name, trust: 'chain', certificates: read(written.certificate) }
    : { name, trust: 'pinned', certificates: read(written.pinned).slice(0, 1) };
}

/** @returns the line of what a path names, or of what should have it */
function lineOf(
  document: Document,
  path: readonly PropertyKey[],
  lineCounter: LineCounter,
): number | undefined {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    if (!isCollection(parent)) continue;
    const last = path[length - 1];
    const item = parent.items.find((candidate, index) =>
      isPair(candidate) ? String(candidate.key) === String(last) : index === last,
    );
    const node = isPair(item) ? item.key : item;
    if (isNode(node) && node.range) return lineCounter.linePos(node.range[0]).line;
  }
  return undefined;
}

/** The reverse of `pathText`. */
function partsOf(path: string): PropertyKey[] {
  return path
    .split(/[.[\]]+/)
    .filter((part) => part !== '')
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}
