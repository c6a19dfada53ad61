/** The files of pages: their own modules, with their types stripped in a checkout, and the libraries that they use. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from './api-error.ts';

const require = createRequire(import.meta.url);

/** Whether this module itself runs as TypeScript: then the pages do too. */
const isCheckout = import.meta.filename.endsWith('.ts');
const repository = path.resolve(import.meta.dirname, '..');

/** What a browser may read; paths are relative to the repository, or to the package. */
export interface StaticFiles {
  /** What is at `/`. */
  readonly home: string;
  /** Folders that are served under their own names. */
  readonly folders: readonly string[];
  /** Where everything else is looked for; undefined: nowhere. */
  readonly otherwise?: string;
  /** Packages, below `/vendor/`. */
  readonly packages: readonly string[];
  /** Of the Content-Security-Policy (CSP 3, §6.4): whence styles may come. */
  readonly styleSources: string;
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.ts': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json; charset=utf-8',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
};

/** No script, style, frame or connection but our own; diagram-js sets styles from script, which needs no exception. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self' {importMap}",
  'style-src {styleSources}',
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

interface StaticFile {
  readonly type: string;
  readonly etag: string;
  readonly body: Buffer;
  readonly policy: string | undefined;
}

/** In the package nothing changes while we run, so every file is read once; a bound, because names come from outside. */
const filesKeptMax = 500;
const kept = new Map<string, StaticFile>();

export function registerStatic(server: FastifyInstance, files: StaticFiles): void {
  server.addHook('onSend', (_request, reply, _payload, done) => {
    reply.headers({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
      'cross-origin-opener-policy': 'same-origin',
    });
    if (!reply.hasHeader('content-security-policy')) {
      reply.header('content-security-policy', "default-src 'none'; frame-ancestors 'none'");
    }
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
    done();
  });
  const answer = (request: FastifyRequest, reply: FastifyReply, file: string): Promise<FastifyReply> =>
    send(request, reply, file, files.styleSources);
  const serve = (address: string, folder: string): void => {
    const whole = path.join(repository, folder);
    server.get(`${address}/*`, (request, reply) => answer(request, reply, within(whole, rest(request))));
  };
  server.get('/', (request, reply) => answer(request, reply, path.join(repository, files.home)));
  server.get('/vendor/*', (request, reply) =>
    answer(request, reply, vendorFile(rest(request), files.packages)),
  );
  for (const folder of files.folders) serve(`/${folder}`, folder);
  if (files.otherwise !== undefined) serve('', files.otherwise);
}

function rest(request: FastifyRequest): string {
  const parameters = request.params;
  if (typeof parameters !== 'object' || parameters === null || !('*' in parameters)) return '';
  return String(parameters['*']);
}

/**
 * @param name - decoded, from outside
 * @throws ApiError `api.not_found` for whatever lies elsewhere, is hidden, or is of a type that no page needs
 */
function within(folder: string, name: string): string {
  const file = path.resolve(folder, name);
  const isInside = file.startsWith(folder + path.sep);
  const isHidden = name.split(/[/\\]/).some((part) => part.startsWith('.'));
  if (!isInside || isHidden || name.includes('\0') || !Object.hasOwn(types, path.extname(file)))
    throw notFound();
  return file;
}

function vendorFile(name: string, packages: readonly string[]): string {
  const [packageName = '', ...parts] = name.split('/');
  if (!packages.includes(packageName)) throw notFound();
  return within(packageFolder(packageName), parts.join('/'));
}

/** `require.resolve(name + '/package.json')` is refused by packages that do not export it, so the folder is looked for. */
function packageFolder(name: string): string {
  for (const folder of require.resolve.paths(name) ?? []) {
    const candidate = path.join(folder, name);
    try {
      require.resolve(path.join(candidate, 'package.json'));
      return candidate;
    } catch {
      // not here: the next folder up
    }
  }
  throw notFound();
}

function notFound(): ApiError {
  return new ApiError('api.not_found', 'there is nothing at this address');
}

async function send(
  request: FastifyRequest,
  reply: FastifyReply,
  file: string,
  styleSources: string,
): Promise<FastifyReply> {
  const { type, etag, body, policy } = await load(file, styleSources);
  reply.headers({ 'content-type': type, etag, 'cache-control': 'no-cache' });
  if (policy !== undefined) reply.header('content-security-policy', policy);
  if (request.headers['if-none-match'] === etag) return reply.code(304).send();
  return reply.send(body);
}

async function load(file: string, styleSources: string): Promise<StaticFile> {
  const known = isCheckout ? undefined : kept.get(file);
  if (known !== undefined) return known;
  const body = await content(file);
  const loaded: StaticFile = {
    type: types[path.extname(file)] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
    body,
    policy: path.extname(file) === '.html' ? policyFor(body.toString('utf8'), styleSources) : undefined,
  };
  if (!isCheckout && kept.size < filesKeptMax) kept.set(file, loaded);
  return loaded;
}

async function content(file: string): Promise<Buffer> {
  // In the package the modules are compiled, and the page that names them still says `.ts`.
  const source = !isCheckout && file.endsWith('.ts') ? `${file.slice(0, -'.ts'.length)}.js` : file;
  let body: Buffer;
  try {
    body = await readFile(source);
  } catch (cause) {
    throw new ApiError('api.not_found', 'there is nothing at this address', { cause });
  }
  return source.endsWith('.ts') ? Buffer.from(stripTypeScriptTypes(body.toString('utf8'))) : body;
}

/** An import map is an inline script (HTML §4.12.1), so the policy names it by its hash. */
function policyFor(html: string, styleSources: string): string {
  const hashes = Array.from(
    html.matchAll(/<script type="importmap">([\s\S]*?)<\/script>/g),
    ([, text = '']) => {
      const digest = createHash('sha256').update(text).digest('base64');
      return `'sha256-${digest}'`;
    },
  );
  return contentSecurityPolicy
    .replace(' {importMap}', hashes.map((hash) => ` ${hash}`).join(''))
    .replace('{styleSources}', styleSources);
}
