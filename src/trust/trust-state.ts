import { hashToken } from '../kernel/token-proof.ts';
import type { Grant } from '../protocol/grants.ts';
import { fingerprintSchema } from '../protocol/ids.ts';
import { THIS_MACHINE, uniqueName } from '../protocol/names.ts';
import { grantOfLevel, NO_GRANT } from './grants.ts';
import type { PinnedMachine } from './leaf.ts';
import { readPairingRecord, type PairingRecord } from './pairing-record.ts';
import { KEYS, READ, type GoneMachine, type Machine, type NamedKey } from './trust-records.ts';

/** What a person wrote into config.yaml. */
export interface TrustConfig {
  /** `auth.allowedKeys`: name → key. */
  readonly allowedKeys: Readonly<Record<string, string>>;
  /** `tls.pinnedCerts`: name → SHA-256 of the certificate's DER, hex. */
  readonly pinnedCerts: Readonly<Record<string, string>>;
}

/** A pin of the config whose machine was not met yet. */
export interface UnmetPin {
  readonly name: string;
  readonly fingerprint: string;
  readonly grant: Grant;
}

/** Something that a person has to know: nothing here is trusted by mistake, but something may be missing. */
export interface TrustProblem {
  readonly kind: 'bad-record' | 'contradiction' | 'ignored-pin' | 'ignored-key' | 'store' | 'listener';
  /** The record or the name in the config. */
  readonly about: string;
  readonly message: string;
  /** What to do about it. */
  readonly fix: string;
}

/** One stored record, as the store lists it. */
export interface TrustEntry {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

/** All that is trusted, at one moment. */
export interface TrustState {
  /** Trusted machines by machineId, without this one. */
  readonly machines: ReadonlyMap<string, Machine>;
  readonly unmetPins: ReadonlyMap<string, UnmetPin>;
  /** Paired machines that a pin of the same name contradicts: not trusted while it does. */
  readonly suspended: readonly Machine[];
  readonly goneMachines: readonly GoneMachine[];
  readonly keys: ReadonlyMap<string, NamedKey>;
  /** Hashes of revoked keys. */
  readonly goneKeys: ReadonlySet<string>;
  readonly agentGrant: Grant;
  /** Machines that are or were trusted, this one too, by the hash of their key and by machineId. */
  readonly pinned: ReadonlyMap<string, PinnedMachine>;
  readonly keysByHash: ReadonlyMap<string, NamedKey>;
  /** Pairings to which the person here said yes, until they are settled. */
  readonly pairings: readonly PairingRecord[];
  readonly problems: readonly TrustProblem[];
}

/** What parsing a record gave, kept as long as the record does not change. */
export type ParsedRecords = Map<string, { readonly revision: number; readonly record: unknown }>;

/** What a state is built from. */
export interface StateSources {
  readonly entries: readonly TrustEntry[];
  readonly config: TrustConfig;
  /** This machine. */
  readonly own: Machine;
  readonly parsed: ParsedRecords;
}

type Read<T> = (value: string, id: string) => T;

/** Puts a state together: what is stored first, then what the config adds. Nothing that can't be read is trusted. */
class StateBuilder {
  readonly #sources: StateSources;
  readonly #machines = new Map<string, Machine>();
  readonly #unmetPins = new Map<string, UnmetPin>();
  readonly #suspended: Machine[] = [];
  readonly #keys = new Map<string, NamedKey>();
  readonly #problems: TrustProblem[] = [];

  constructor(sources: StateSources) {
    this.#sources = sources;
  }

  build(): TrustState {
    this.#addMachines(present(this.#read(KEYS.machine, READ.machine)));
    const goneMachines = this.#read(KEYS.goneMachine, READ.goneMachine);
    this.#addPins(goneMachines);
    for (const key of present(this.#read(KEYS.key, READ.key))) this.#keys.set(key.name, key);
    const goneKeys = this.#read(KEYS.goneKey, READ.goneKey);
    this.#addConfigKeys(goneKeys);
    return {
      machines: this.#machines,
      unmetPins: this.#unmetPins,
      suspended: this.#suspended,
      goneMachines: present(goneMachines),
      pinned: this.#pinned(present(goneMachines)),
      keysByHash: new Map([...this.#keys.values()].map((key) => [key.keyHash, key])),
      keys: this.#keys,
      goneKeys: new Set(goneKeys.keys()),
      agentGrant: grantFrom(this.#read(KEYS.agentGrant, READ.grant), '', grantOfLevel('full', 'all')),
      pairings: present(this.#read(KEYS.pairing, (value) => readPairing(value, this.#sources.own))),
      problems: this.#problems,
    };
  }

  /** One that an older version let have the name of this machine has another from here on. */
  #addMachines(machines: readonly Machine[]): void {
    const taken = new Set([...machines.map(({ name }) => name), ...Object.keys(this.#sources.config.pinnedCerts)]);
    for (const machine of machines) {
      const name = machine.name === THIS_MACHINE ? uniqueName(THIS_MACHINE, (one) => taken.has(one)) : machine.name;
      this.#machines.set(machine.machineId, { ...machine, name });
    }
  }

  #addPins(gone: ReadonlyMap<string, GoneMachine | undefined>): void {
    const met = this.#read(KEYS.metPin, READ.metPin);
    const grants = this.#read(KEYS.pinGrant, READ.grant);
    for (const [name, text] of Object.entries(this.#sources.config.pinnedCerts)) {
      const parsed = fingerprintSchema.safeParse(text);
      const fingerprint = parsed.success ? parsed.data : '';
      const obstacle = parsed.success ? this.#obstacleOf(name, fingerprint, gone) : 'a fingerprint has 64 hex digits';
      if (obstacle !== undefined) {
        this.#ignore('ignored-pin', name, obstacle);
        continue;
      }
      this.#suspendRival(name, fingerprint);
      if (this.#isPinned(fingerprint)) continue;
      const grant = grantFrom(grants, fingerprint, grantOfLevel('full'));
      const machine = met.get(fingerprint);
      if (machine !== undefined) this.#machines.set(machine.machineId, { ...machine, name, grant });
      else this.#unmetPins.set(fingerprint, { name, fingerprint, grant });
    }
  }

  /** Those that are trusted come last, so that they win over a removal in the past. */
  #pinned(gone: readonly GoneMachine[]): Map<string, PinnedMachine> {
    const revoked = [...gone.map(({ machine }) => machine), ...this.#suspended].filter(
      (machine) => machine !== undefined,
    );
    const pinned = new Map<string, PinnedMachine>();
    const add = ({ machineId, spkiHash, publicKey }: Machine, isRevoked: boolean): void => {
      const one = { machineId, publicKey, revoked: isRevoked };
      pinned.set(machineId, one).set(spkiHash, one);
    };
    for (const machine of revoked) add(machine, true);
    for (const machine of [...this.#machines.values(), this.#sources.own]) add(machine, false);
    return pinned;
  }

  #isPinned(fingerprint: string): boolean {
    const machines = [...this.#machines.values()];
    return this.#unmetPins.has(fingerprint) || machines.some((machine) => machine.fingerprint === fingerprint);
  }

  #obstacleOf(
    name: string,
    fingerprint: string,
    gone: ReadonlyMap<string, GoneMachine | undefined>,
  ): string | undefined {
    if (name === THIS_MACHINE) return 'that name means this machine itself';
    if (fingerprint === this.#sources.own.fingerprint) return 'it is this machine';
    // A record that can't be read blocks as well: a removal must not come undone.
    const blocked = gone.has(fingerprint) && gone.get(fingerprint)?.blocksPin !== false;
    return blocked ? 'that machine was removed here; `loopsy pair` trusts it again' : undefined;
  }

  /** A pin names another key than the paired peer of that name has: one of them is wrong, and the person wrote the pin. */
  #suspendRival(name: string, fingerprint: string): void {
    const rival = [...this.#machines.values()].find((machine) => machine.name === name);
    if (rival === undefined || rival.fingerprint === fingerprint) return;
    this.#machines.delete(rival.machineId);
    this.#suspended.push(rival);
    const pin = `tls.pinnedCerts.${name} in config.yaml`;
    this.#problems.push({
      kind: 'contradiction',
      about: name,
      message: `${pin} is ${fingerprint}, but the paired peer ${name} is ${rival.fingerprint}: the peer is not trusted until one of them goes`,
      fix: `where the pin is right: \`loopsy peers remove ${rival.machineId.slice(0, 8)}\`; where the peer is: take ${pin} out`,
    });
  }

  #addConfigKeys(gone: ReadonlyMap<string, unknown>): void {
    const grants = this.#read(KEYS.keyGrant, READ.grant);
    const hashes = new Set([...this.#keys.values()].map(({ keyHash }) => keyHash));
    for (const [name, key] of Object.entries(this.#sources.config.allowedKeys)) {
      const keyHash = hashToken(key);
      const obstacle = this.#keyObstacle(name, { revoked: gone.has(keyHash), known: hashes.has(keyHash) });
      if (obstacle !== undefined) {
        this.#ignore('ignored-key', name, obstacle);
        continue;
      }
      hashes.add(keyHash);
      this.#keys.set(name, {
        name,
        keyHash,
        kind: 'config',
        grant: grantFrom(grants, name, grantOfLevel('collaborate')),
      });
    }
  }

  #keyObstacle(name: string, { revoked, known }: { revoked: boolean; known: boolean }): string | undefined {
    if (RESERVED_KEY_NAMES.has(name)) return 'that name has a meaning of its own';
    if (revoked) return 'this key was revoked; write a new one';
    if (known) return 'another name has the same key';
    return this.#keys.has(name) ? 'a key of that name was added with `loopsy key add`' : undefined;
  }

  /** All records below a prefix, by what follows it; `undefined` for one that can't be used. */
  #read<T>(prefix: string, read: Read<T>): Map<string, T | undefined> {
    const entries = this.#sources.entries.filter(({ key }) => key.startsWith(prefix));
    return new Map(entries.map((entry) => [entry.key.slice(prefix.length), this.#readEntry(entry, prefix, read)]));
  }

  #readEntry<T>(entry: TrustEntry, prefix: string, read: Read<T>): T | undefined {
    const { parsed } = this.#sources;
    const known = parsed.get(entry.key);
    // The cast: a key is always read by the one reader of its prefix.
    if (known?.revision === entry.revision) return known.record as T;
    try {
      const record = read(entry.value, entry.key.slice(prefix.length));
      parsed.set(entry.key, { revision: entry.revision, record });
      return record;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#problems.push({
        kind: 'bad-record',
        about: entry.key,
        message: `${entry.key} in trust.db can not be used: ${reason}`,
        fix: 'a newer loopsy may have written it: update this one; else set it up anew (`loopsy pair`, `loopsy key add`)',
      });
      return undefined;
    }
  }

  /** An entry of the config that has no effect. */
  #ignore(kind: 'ignored-pin' | 'ignored-key', name: string, why: string): void {
    const entry = `${kind === 'ignored-pin' ? 'tls.pinnedCerts' : 'auth.allowedKeys'}.${name} in config.yaml`;
    this.#problems.push({
      kind,
      about: name,
      message: `${entry} is not used: ${why}`,
      fix: `correct ${entry}, or take it out`,
    });
  }
}

const readPairing = (value: string, { machineId }: Machine): PairingRecord => {
  const record = readPairingRecord(value, machineId);
  if (record === undefined) throw new Error('it is not whole, of another release, or of an identity that is gone');
  return record;
};

/** Names that a key can't have: `loopsy key grant agent` means the agents of this machine. */
export const RESERVED_KEY_NAMES: ReadonlySet<string> = new Set(['agent', 'owner']);

const present = <T>(records: ReadonlyMap<string, T | undefined>): T[] =>
  [...records.values()].filter((record) => record !== undefined);

/** The grant that is stored under an id; one that can't be read grants nothing, never the default. */
const grantFrom = (grants: ReadonlyMap<string, Grant | undefined>, id: string, byDefault: Grant): Grant =>
  grants.has(id) ? (grants.get(id) ?? NO_GRANT) : byDefault;

/** Builds the state from what is stored and configured. Pure but for `parsed`, its memory of unchanged records. */
export const buildState = (sources: StateSources): TrustState => {
  const { parsed, entries } = sources;
  const live = new Set(entries.map(({ key }) => key));
  for (const key of parsed.keys()) if (!live.has(key)) parsed.delete(key);
  return new StateBuilder(sources).build();
};
