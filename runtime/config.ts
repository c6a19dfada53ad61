/** Configuration files: YAML, read once, checked whole, every fault reported together with its place. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';

export interface ConfigFault {
  /** For example `listeners[0].port`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** Every fault of one file: a single one on the line of the file's name, several on lines of their own. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'config.invalid';
  readonly faults: readonly ConfigFault[];
  constructor(file: string, faults: readonly ConfigFault[]) {
    const lines = faults.map((fault) => `${fault.path === '' ? '' : `${fault.path}: `}${fault.message}`);
    super(
      lines.length === 1
        ? `${file}: ${lines.join('')}`
        : [`${file}: ${lines.length} faults`, ...lines.map((line) => `  ${line}`)].join('\n'),
    );
    this.faults = faults;
  }
}

/** Types of values whose meaning depends on where the configuration file is. */
export interface ConfigTypes {
  /** A path, relative to the configuration file; need not exist. */
  readonly path: z.ZodType<string>;
  /** The same, but something must be there. */
  readonly existingPath: z.ZodType<string>;
}

/** `host:port` of a listener or a peer; port 0 lets the system choose. */
export const endpointType = z
  .string()
  .transform((text, context) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
    const port = Number(match?.[3]);
    if (!match || port > 65_535) {
      context.addIssue(`wanted host:port, got ${JSON.stringify(text)}`);
      return z.NEVER;
    }
    return { host: match[1] ?? match[2] ?? '', port };
  })
  .meta({ description: 'host:port' });
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads a configuration file.
 *
 * @param file - YAML
 * @param schema - makes the schema, given types that resolve paths against the file's folder; use `z.strictObject`, so that a mistyped key is a fault
 * @throws ConfigError with every fault at once
 */
export function loadConfig<T>(file: string, schema: (types: ConfigTypes) => z.ZodType<T>): T {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ConfigError(file, [{ path: '', message: `cannot read it: ${describeSystemError(cause)}` }]);
  }
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, uniqueKeys: true, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new ConfigError(
      file,
      document.errors.map((error) => {
        const { line, col } = lineCounter.linePos(error.pos[0]);
        return { path: `line ${line}, column ${col}`, message: error.message };
      }),
    );
  }
  const result = schema(typesRelativeTo(path.dirname(path.resolve(file)))).safeParse(document.toJS() ?? {}, {
    error: missingText,
  });
  if (!result.success) throw new ConfigError(file, result.error.issues.flatMap(faultsOf));
  return result.data;
}

function typesRelativeTo(directory: string): ConfigTypes {
  const resolved = z
    .string()
    .min(1)
    .transform((text) => path.resolve(directory, text));
  return {
    path: resolved,
    existingPath: resolved.refine((resolvedPath) => existsSync(resolvedPath), {
      error: (issue) => `no such file: ${String(issue.input)}`,
    }),
  };
}

/** Whoever wrote the file thinks of a setting that is not there, not of a type `undefined`. */
function missingText(issue: z.core.$ZodRawIssue): string | undefined {
  return issue.code === 'invalid_type' && issue.input === undefined ? 'is missing' : undefined;
}

function faultsOf(issue: z.core.$ZodIssue): ConfigFault[] {
  const place = pathText(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: pathText([...issue.path, key]), message: 'no such setting' }));
  }
  return [{ path: place, message: issue.message }];
}

function pathText(parts: readonly PropertyKey[]): string {
  return parts.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}

const systemErrorTexts: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  ENOTDIR: 'what should be a folder on the way there is a file',
  EADDRINUSE: 'the address is in use',
  EADDRNOTAVAIL: 'the address is not one of this machine',
  ECONNREFUSED: 'connection refused',
  ENOSPC: 'no space left',
  EROFS: 'read-only file system',
};

/** @returns an operating system's error in words, for one line on a terminal */
export function describeSystemError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return systemErrorTexts[code] ?? error.message;
}
