import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openStore } from '../../src/store/engine.ts';
import type { Store } from '../../src/store/store.ts';
import type { OwnMachine } from '../../src/trust/pairing-hello.ts';
import type { PairingEffect } from '../../src/trust/pairing-party.ts';
import type { PairingRecord } from '../../src/trust/pairing-record.ts';
import { TrustBook } from '../../src/trust/pins.ts';
import { KEYS } from '../../src/trust/trust-records.ts';
import { KeptLog } from '../store/open.ts';
import { FakeClock } from '../helpers/clock.ts';
import type { PairingDisk } from './pairing-search.ts';

type Entry = readonly [key: string, value: string];

/** What a machine's trust.db holds, asked by a search that sees the same images again and again. */
interface Known {
  readonly record: PairingRecord | undefined;
  readonly trusts: boolean;
}

/** The disk of a search: the real trust book over the real store, in a file, opened anew for each image. */
export class BookDisk implements PairingDisk {
  /** How many transactions the store has carried out. */
  writes = 0;
  readonly #own: OwnMachine;
  readonly #peerId: string;
  readonly #clock = new FakeClock(1_800_000_000_000);
  readonly #folder: string;
  readonly #store: Store;
  readonly #known = new Map<string, Known>();
  readonly #after = new Map<string, string>();
  #image = '';

  private constructor(folder: string, own: OwnMachine, peerId: string) {
    this.#folder = folder;
    this.#own = own;
    this.#peerId = peerId;
    this.#store = openStore({ file: join(folder, 'trust.db'), clock: this.#clock, log: new KeptLog() });
  }

  static async create(own: OwnMachine, peerId: string): Promise<BookDisk> {
    return new BookDisk(await mkdtemp(join(tmpdir(), 'loopsy-search-')), own, peerId);
  }

  async remove(): Promise<void> {
    await this.#store.close();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async load(image: string): Promise<void> {
    this.#image = image;
  }

  async image(): Promise<string> {
    return this.#image;
  }

  async carryOut(effect: PairingEffect): Promise<void> {
    const step = `${this.#image}\n${JSON.stringify(effect)}`;
    const known = this.#after.get(step);
    if (known !== undefined) {
      this.#image = known;
      return;
    }
    await this.#withBook((book) => book.carryOutPairing(effect));
    this.#image = this.#read();
    this.#after.set(step, this.#image);
  }

  async record(): Promise<PairingRecord | undefined> {
    return (await this.#look()).record;
  }

  async trusts(): Promise<boolean> {
    return (await this.#look()).trusts;
  }

  async #look(): Promise<Known> {
    const seen = this.#known.get(this.#image);
    if (seen !== undefined) return seen;
    const known = await this.#withBook((book) => ({
      record: book.pairings()[0],
      trusts: book.machine(this.#peerId) !== undefined,
    }));
    this.#known.set(this.#image, known);
    return known;
  }

  /** The book as a node opens it that starts with this image. */
  async #withBook<Result>(use: (book: TrustBook) => Result | Promise<Result>): Promise<Result> {
    const old = this.#store.list({ prefix: '', limit: 1000 }).map(({ key }) => ({ delete: key }));
    const fresh = this.#entries().map(([put, value]) => ({ put, value }));
    await this.#store.commit([...old, ...fresh]);
    this.writes += 1;
    const book = new TrustBook({
      store: this.#store,
      ownCertificate: this.#own.certificate,
      clock: this.#clock,
      config: { current: () => ({ allowedKeys: {}, pinnedCerts: {} }), onChange: () => () => undefined },
      report: ({ message }) => {
        throw new Error(message);
      },
    });
    try {
      return await use(book);
    } finally {
      await book.close();
    }
  }

  #entries(): Entry[] {
    // What `#read` wrote.
    return this.#image === '' ? [] : (JSON.parse(this.#image) as Entry[]);
  }

  #read(): string {
    const entries = this.#store.list({ prefix: '', limit: 1000 }).filter(({ key }) => key !== KEYS.book);
    return entries.length === 0 ? '' : JSON.stringify(entries.map(({ key, value }) => [key, value]));
  }
}
