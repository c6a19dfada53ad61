/**
 * ECMQV with the point arithmetic of `assembly/`, several times as fast as any other in Node, except on P-256: there
 * OpenSSL's assembly is faster still at multiplying a point by a scalar, so two of the multiplications are left to it.
 *
 * The shared point is the same for both sides (U sends: d, Q; e, E. V receives: d', Q'):
 *
 *     (e + avf(E)·d) · (1 + avf(Q'))·Q'  =  d'·(1 + avf(Q')) · (E + avf(E)·Q)
 *
 * On the left, the point depends on the recipient only, so a comb for it is kept, and one scalar serves all recipients. On
 * the right, the scalar depends on the recipient only; what remains, E + avf(E)·Q, is public and half as long, and a comb
 * for Q is kept. Whatever touches a secret is constant in time (see `assembly/engine.ts`).
 */
import assert from 'node:assert/strict';
import { agree, basePointTimes, encodePoint, privateKeyOf, publicKeyOf } from '../ecdh.ts';
import type { MqvEngine, MqvReceiver } from '../mqv-engine.ts';
import { portableEngine } from '../portable-engine.ts';
import type { Suite } from '../suite.ts';
import { loadCurveModule } from './curve-module.ts';
import type { CurveModule } from './curve-module.ts';
import { Memory, Tables } from './tables.ts';

/** See `comb` in assembly/engine.ts. */
interface CombShape {
  readonly teeth: number;
  readonly blocks: number;
  readonly columns: number;
}

// A comb for full scalars: 10 KiB on P-256, 20 on P-521. All of these at most 20 MiB a curve.
const recipientsKept = 1024;
// A comb for half scalars and its point: 2.6 KiB on P-256, 5.3 on P-521. All of these at most 86 MiB a curve.
const originatorsKept = 16_384;

export function wasmEngine(suite: Suite): MqvEngine {
  const curve = new WasmCurve(suite);
  const exact = portableEngine(suite);
  return {
    send(staticScalar, ephemeralScalar, recipients) {
      // No result is an exception of the formulas, or a bad input: the exact engine tells.
      return (
        curve.send(staticScalar, ephemeralScalar, recipients) ??
        exact.send(staticScalar, ephemeralScalar, recipients)
      );
    },
    receiver(staticScalar, ownPoint) {
      const fast = curve.receiver(staticScalar, ownPoint);
      let slow: MqvReceiver | undefined;
      return (originatorPoint, ephemeralPoint) => {
        const secret = fast?.(originatorPoint, ephemeralPoint);
        if (secret !== undefined) return secret;
        slow ??= exact.receiver(staticScalar, ownPoint);
        return slow(originatorPoint, ephemeralPoint);
      };
    },
  };
}

class WasmCurve {
  readonly #suite: Suite;
  readonly #module: CurveModule;
  readonly #memory: Memory;
  readonly #exchange: number;
  readonly #affineBytes: number;
  readonly #fullComb: CombShape;
  readonly #halfComb: CombShape;
  readonly #recipients: Tables;
  readonly #originators: Tables;
  readonly #baseTable: number;

  constructor(suite: Suite) {
    const module = loadCurveModule(suite.curve);
    this.#suite = suite;
    this.#module = module;
    this.#memory = new Memory(module.memory, module.freeMemory());
    this.#exchange = module.exchange.value;
    this.#affineBytes = module.affineBytes.value;
    this.#fullComb = combFor(suite.order.toString(2).length, 6, 4);
    this.#halfComb = combFor(suite.halfBits + 1, 5, 2);
    const fullBytes = entriesOf(this.#fullComb) * this.#affineBytes;
    const halfBytes = entriesOf(this.#halfComb) * this.#affineBytes;
    this.#recipients = new Tables(this.#memory, fullBytes, recipientsKept);
    this.#originators = new Tables(this.#memory, this.#affineBytes + halfBytes, originatorsKept);
    this.#baseTable = this.#memory.reserve(fullBytes);
    assert.ok(
      this.#readPoint(encodePoint(suite, suite.Point.BASE.toAffine())) &&
        this.#makeComb(this.#baseTable, this.#fullComb),
    );
  }

  send(
    staticScalar: Uint8Array,
    ephemeralScalar: Uint8Array,
    recipients: readonly Uint8Array[],
  ): ReturnType<MqvEngine['send']> {
    const module = this.#module;
    const tables = this.#recipientTables(recipients);
    if (tables === undefined) return undefined;
    try {
      const ephemeralPoint = this.#ephemeralPoint(ephemeralScalar);
      if (ephemeralPoint === undefined || !this.#addAssociated(ephemeralScalar, staticScalar))
        return undefined;
      const { teeth, blocks, columns } = this.#fullComb;
      module.recode(teeth * blocks * columns);
      for (const [index, table] of tables.entries()) {
        module.multiplyFixed(index, table, teeth, blocks, columns);
      }
      if (module.writeSums(tables.length) === 0) return undefined;
      return { ephemeralPoint, secrets: tables.map((_, index) => this.#take(2 * index, 1)) };
    } finally {
      module.wipe(tables.length);
    }
  }

  /** @returns undefined if the point is not on the curve */
  receiver(staticScalar: Uint8Array, ownPoint: Uint8Array): MqvReceiver | undefined {
    if (!this.#readPoint(ownPoint) || !this.#addAssociated(staticScalar, staticScalar)) return undefined;
    // d' + avf(Q')·d'
    const scalar = this.#take(0, 1);
    this.#module.wipe(1);
    if (this.#suite.hasNativeAssembly) return this.#nativeReceiver(scalar);
    return (originatorPoint, ephemeralPoint) => {
      if (!this.#addImplicit(originatorPoint, ephemeralPoint)) return undefined;
      try {
        this.#put(scalar);
        const isDone = this.#module.readScalar() === 1 && this.#module.multiplySum() === 1;
        return isDone && this.#module.writeSums(1) === 1 ? this.#take(0, 1) : undefined;
      } finally {
        this.#module.wipe(1);
      }
    };
  }

  #nativeReceiver(scalar: Buffer): MqvReceiver {
    const key = privateKeyOf(this.#suite, scalar);
    scalar.fill(0);
    return (originatorPoint, ephemeralPoint) => {
      if (!this.#addImplicit(originatorPoint, ephemeralPoint)) return undefined;
      if (this.#module.writeSums(1) === 0) return undefined;
      return agree(key, publicKeyOf(this.#suite, Buffer.concat([Buffer.of(4), this.#take(0, 2)])));
    };
  }

  /** Leaves E + avf(E)·Q as the sum number 0. */
  #addImplicit(originatorPoint: Uint8Array, ephemeralPoint: Uint8Array): boolean {
    const table = this.#originators.get(keyOf(originatorPoint), (address) => {
      if (!this.#readPoint(originatorPoint)) return false;
      const start = this.#module.point.value;
      this.#memory.octets.copyWithin(address, start, start + this.#affineBytes);
      return this.#makeComb(address + this.#affineBytes, this.#halfComb);
    });
    if (table === undefined || !this.#readPoint(ephemeralPoint)) return false;
    const { teeth, blocks, columns } = this.#halfComb;
    this.#module.addImplicit(table, table + this.#affineBytes, teeth, blocks, columns);
    return true;
  }

  /** @returns a comb for (1 + avf(Q'))·Q' of each */
  #recipientTables(recipients: readonly Uint8Array[]): readonly number[] | undefined {
    const tables: number[] = [];
    for (const point of recipients) {
      const table = this.#recipients.get(keyOf(point), (address) => {
        // The sum of the point and avf(point) times itself, left as `point`.
        if (!this.#addImplicit(point, point) || this.#module.writeSums(1) === 0) return false;
        return this.#makeComb(address, this.#fullComb);
      });
      if (table === undefined) return undefined;
      tables.push(table);
    }
    return tables;
  }

  /** e·G, left as `point` too. */
  #ephemeralPoint(ephemeralScalar: Uint8Array): Buffer | undefined {
    const module = this.#module;
    if (this.#suite.hasNativeAssembly) {
      const octets = basePointTimes(this.#suite, ephemeralScalar);
      assert.ok(this.#readPoint(octets));
      return octets;
    }
    this.#put(ephemeralScalar);
    if (module.readScalar() === 0) return undefined;
    const { teeth, blocks, columns } = this.#fullComb;
    const sign = module.recode(teeth * blocks * columns);
    module.multiplyFixed(0, this.#baseTable, teeth, blocks, columns);
    if (module.writeSums(1) === 0) return undefined;
    module.negateFirst(sign);
    return Buffer.concat([Buffer.of(4), this.#take(0, 2)]);
  }

  /** Leaves scalar + avf(point)·factor modulo n as the scalar, and in `exchange`. */
  #addAssociated(scalar: Uint8Array, factor: Uint8Array): boolean {
    this.#put(scalar);
    if (this.#module.readScalar() === 0) return false;
    this.#put(factor);
    return this.#module.addAssociated() === 1;
  }

  #readPoint(octets: Uint8Array): boolean {
    if (octets[0] !== 4 || octets.length !== 1 + 2 * this.#suite.coordinateBytes) return false;
    this.#put(octets.subarray(1));
    return this.#module.readPoint() === 1;
  }

  #makeComb(address: number, { teeth, blocks, columns }: CombShape): boolean {
    return this.#module.makeComb(address, teeth, blocks, columns) === 1;
  }

  #put(octets: Uint8Array): void {
    this.#memory.octets.set(octets, this.#exchange);
  }

  /** @returns a copy of integers out of `exchange` */
  #take(from: number, count: number): Buffer {
    const { coordinateBytes } = this.#suite;
    const start = this.#exchange + from * coordinateBytes;
    return Buffer.from(this.#memory.octets.subarray(start, start + count * coordinateBytes));
  }
}

/** The least columns with which teeth · blocks · columns digits make up a scalar of that many bits. */
function combFor(bits: number, teeth: number, blocks: number): CombShape {
  return { teeth, blocks, columns: Math.ceil(bits / (teeth * blocks)) };
}

function entriesOf({ teeth, blocks }: CombShape): number {
  return blocks * 2 ** (teeth - 1);
}

function keyOf(point: Uint8Array): string {
  return Buffer.from(point.buffer, point.byteOffset, point.length).toString('latin1');
}
