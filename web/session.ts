/** Who is asking: login, logout, the session cookie, and the refusal of changes that another site asks for. */
import { createHash, randomBytes } from 'node:crypto';
import cookie from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Clock } from '../domain/clock.ts';
import type { Log } from '../runtime/log.ts';
import { ApiError } from './api-error.ts';
import { hashPassword, isPassword, passwordLengthMax } from './password.ts';
import { createRateLimit } from './rate-limit.ts';

const tokenBytes = 32;
const sessionMs = 12 * 3600 * 1000;
const failures = { perUserMax: 10, perAddressMax: 50, windowMs: 15 * 60 * 1000 };
const userNameLengthMax = 64;
/** scrypt takes 128 MiB and a third of a second each, so only so many at a time. */
const verificationsMax = 4;

const credentialsType = z.strictObject({
  user: z.string().min(1).max(userNameLengthMax),
  password: z.string().min(1).max(passwordLengthMax),
});

/** Somebody who may log in, as pages are told. */
export interface Account {
  readonly name: string;
  readonly role: string;
  /** A namespace path; empty: everything. */
  readonly scope: string;
}

/** Where accounts and their sessions are kept. A token comes hashed: who reads them must not be able to log in. */
export interface Accounts<A extends Account> {
  find(name: string): Promise<(A & { readonly passwordHash: string }) | undefined>;
  openSession(tokenHash: Uint8Array, account: A, nowMs: number, expiresMs: number): Promise<void>;
  /** @returns whose session it is, unless it has expired or was ended */
  findSession(tokenHash: Uint8Array, nowMs: number): Promise<A | undefined>;
  endSession(tokenHash: Uint8Array): Promise<void>;
}

export interface SessionOptions<A extends Account> {
  readonly accounts: Accounts<A>;
  /** Cookies know hosts and no ports, so each program has a name of its own. */
  readonly cookieName: string;
  /** How browsers reach the server, if not by its own address. */
  readonly publicUrl: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Sessions<A extends Account> {
  /** @throws ApiError `api.unauthenticated` */
  requireUser(request: FastifyRequest): A;
  /** The user of the request's session as it is now, for what outlives one request. */
  userNow(request: FastifyRequest): Promise<A | undefined>;
}

export async function registerSessions<A extends Account>(
  server: FastifyInstance,
  options: SessionOptions<A>,
): Promise<Sessions<A>> {
  const { accounts, cookieName, publicUrl, clock } = options;
  const users = new WeakMap<FastifyRequest, A>();
  const userNow = async (request: FastifyRequest): Promise<A | undefined> => {
    const token = request.cookies[cookieName];
    return token === undefined ? undefined : accounts.findSession(hashOf(token), clock());
  };
  const requireUser = (request: FastifyRequest): A => {
    const user = users.get(request);
    if (user === undefined) throw new ApiError('api.unauthenticated', 'log in first');
    return user;
  };
  await server.register(cookie);
  server.addHook('onRequest', async (request) => {
    // As the route is written: an address may be written in many ways.
    const { url = request.url } = request.routeOptions;
    if (!url.startsWith('/api/')) return;
    requireOwnOrigin(request, publicUrl);
    const user = await userNow(request);
    if (user !== undefined) users.set(request, user);
  });
  registerLogin(server, options);
  server.get('/api/me', (request, reply) => {
    const { name, role, scope } = requireUser(request);
    return reply.send({ user: name, role, scope });
  });
  return { requireUser, userNow };
}

/**
 * A change must come from our own page. A form of another site cannot send JSON, and a script of another site cannot
 * send it without asking first (Fetch §3.2, "CORS-preflight request"), which nobody answers here.
 */
function requireOwnOrigin(request: FastifyRequest, publicUrl: string | undefined): void {
  if (request.method === 'GET' || request.method === 'HEAD') return;
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new ApiError('api.foreign_origin', 'a change is sent as application/json');
  }
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new ApiError('api.foreign_origin', 'another site asked for this');
  }
  const { origin, host } = request.headers;
  if (origin === undefined) return; // no browser
  const own = publicUrl === undefined ? [`http://${host}`, `https://${host}`] : [new URL(publicUrl).origin];
  if (!own.includes(origin)) throw new ApiError('api.foreign_origin', 'another site asked for this');
}

function registerLogin<A extends Account>(
  server: FastifyInstance,
  { accounts, cookieName, publicUrl, clock, log }: SessionOptions<A>,
): void {
  const isSecure = publicUrl?.startsWith('https:') === true;
  const byUser = createRateLimit(failures.perUserMax, failures.windowMs, clock);
  const byAddress = createRateLimit(failures.perAddressMax, failures.windowMs, clock);
  const options = { path: '/', httpOnly: true, sameSite: 'strict', secure: isSecure } as const;
  // Compared with when there is no such user, so that a wrong name takes as long as a wrong password.
  const nobody = hashPassword(randomBytes(tokenBytes).toString('base64url'));
  let verifications = 0;

  const login = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const credentials = credentialsType.safeParse(request.body);
    if (!credentials.success) throw new ApiError('api.malformed', 'wanted {user, password}');
    const { user: name, password } = credentials.data;
    if (!byUser.allows(name) || !byAddress.allows(request.ip) || verifications >= verificationsMax) {
      throw new ApiError('api.rate_limited', 'too many attempts; wait a quarter of an hour');
    }
    verifications += 1;
    try {
      const user = await accounts.find(name);
      const isRight = await isPassword(password, user?.passwordHash ?? (await nobody));
      if (user === undefined || !isRight) {
        byUser.fail(name);
        byAddress.fail(request.ip);
        log.warn({ user: name, address: request.ip }, 'login.refused');
        throw new ApiError('api.unauthenticated', 'user or password is wrong');
      }
      byUser.clear(name);
      const token = randomBytes(tokenBytes).toString('base64url');
      await accounts.openSession(hashOf(token), user, clock(), clock() + sessionMs);
      log.info({ user: name, address: request.ip }, 'login.accepted');
      return reply
        .setCookie(cookieName, token, { ...options, maxAge: sessionMs / 1000 })
        .code(204)
        .send();
    } finally {
      verifications -= 1;
    }
  };
  const logout = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const token = request.cookies[cookieName];
    if (token !== undefined) await accounts.endSession(hashOf(token));
    return reply.clearCookie(cookieName, options).code(204).send();
  };
  server.post('/api/login', login);
  server.post('/api/logout', logout);
}

/** The token has 256 random bits, so a plain hash is enough, and what the database holds logs nobody in. */
function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
