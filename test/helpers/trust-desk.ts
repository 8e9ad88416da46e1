import { generateKeyPairSync } from 'node:crypto';

import { openMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { buildMachineCertificate, fingerprintOf, nodeIdOf, spkiOf } from '../../src/trust/certificates.ts';
import { inspectLeaf, type Identified } from '../../src/trust/leaf.ts';
import { TrustBook } from '../../src/trust/pins.ts';
import type { TrustChange } from '../../src/trust/trust-changes.ts';
import type { TrustConfig, TrustProblem } from '../../src/trust/trust-state.ts';
import { FakeClock } from './clock.ts';

/** A machine with its key. */
export interface TestMachine {
  readonly id: string;
  readonly certificate: Buffer;
  readonly fingerprint: string;
  readonly key: ReturnType<typeof generateKeyPairSync>['privateKey'];
}

/** Makes a machine. */
export const makeMachine = async (): Promise<TestMachine> => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = await buildMachineCertificate(privateKey);
  return {
    id: nodeIdOf(spkiOf(privateKey) ?? Buffer.alloc(0)),
    certificate,
    fingerprint: fingerprintOf(certificate),
    key: privateKey,
  };
};

/** One file as two processes see it: a commit through one view is a foreign change to the other. */
const openTwins = (clock: FakeClock): [Store, Store] => {
  const store = openMemoryStore({ clock });
  const listeners: [Set<() => void>, Set<() => void>] = [new Set(), new Set()];
  const view = (own: 0 | 1): Store => ({
    get revision() {
      return store.revision;
    },
    get: (key) => store.get(key),
    list: (query) => store.list(query),
    count: (prefix) => store.count(prefix),
    usage: (accounts) => store.usage(accounts),
    now: () => store.now(),
    follow: (prefix, listener) => store.follow(prefix, listener),
    async commit(changes) {
      const revision = await store.commit(changes);
      for (const listener of listeners[own === 0 ? 1 : 0]) listener();
      return revision;
    },
    onForeignChange(listener) {
      listeners[own].add(listener);
      return () => listeners[own].delete(listener);
    },
    close: () => store.close(),
  });
  return [view(0), view(1)];
};

/** A trust book on a desk: its stores as two processes see them, its config, its clock, and what it said. */
export class TrustDesk {
  readonly clock = new FakeClock(Date.now());
  readonly stores = openTwins(this.clock);
  readonly problems: TrustProblem[] = [];
  readonly book: TrustBook;
  readonly #own: TestMachine;
  readonly #changes: TrustChange[] = [];
  readonly #configListeners = new Set<() => void>();
  #config: TrustConfig = { allowedKeys: {}, pinnedCerts: {} };

  constructor(own: TestMachine) {
    this.#own = own;
    this.book = this.open(0);
    this.book.onChange((all) => this.#changes.push(...all));
  }

  /** Another book of this machine, as after a restart (0) or in another process (1). */
  open(view: 0 | 1): TrustBook {
    return new TrustBook({
      store: this.stores[view],
      ownCertificate: this.#own.certificate,
      clock: this.clock,
      config: {
        current: () => this.#config,
        onChange: (listener) => {
          this.#configListeners.add(listener);
          return () => this.#configListeners.delete(listener);
        },
      },
      report: (problem) => this.problems.push(problem),
    });
  }

  setConfig(next: Partial<TrustConfig>): void {
    this.#config = { ...this.#config, ...next };
    for (const listener of this.#configListeners) listener();
  }

  identify(certificate: Buffer, by = this.book): Identified {
    const leaf = inspectLeaf(certificate);
    return leaf === undefined ? { refused: 'unknown' } : by.identify(leaf);
  }

  /** What the book said since the last question. */
  said(): string[] {
    return this.#changes.splice(0).map(({ what, name }) => `${what} ${name}`);
  }
}
