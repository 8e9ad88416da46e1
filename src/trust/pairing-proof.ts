import type { Attempt } from './pairing-attempts.ts';
import { equalBytes, pairingHash, RunKeys, type Role } from './pairing-crypto.ts';
import { makeHello, readHello, type OwnMachine, type PeerMachine } from './pairing-hello.ts';
import { suspect, write, type Fields, type Message, type MESSAGES } from './pairing-messages.ts';
import type { PairingFacts, Place } from './pairing-record.ts';
import type { Password, RandomBytes, Spake2 } from './spake2.ts';

/** M3 as it was read. */
export type Prove = Fields<typeof MESSAGES.prove>;

/** What the host keeps between M4 and M5: secrets of this run, in memory only. */
export interface Greeting {
  readonly keys: RunKeys;
  readonly peer: PeerMachine;
  readonly helloJoiner: Buffer;
  readonly helloHost: Buffer;
  /** What fixes the joiner's nonce. */
  readonly commit: Buffer;
}

/** The keys of an attempt, where its M3 proves that the joiner knows the code; `undefined` for a guess. */
export const judgeProof = (
  { id, shareJoiner, share }: Attempt,
  prove: Prove,
  { spake2, password }: { spake2: Spake2; password: Password },
): RunKeys | undefined => {
  const secret = spake2.agree(password, { side: 'b', own: share, theirs: shareJoiner });
  if (secret === undefined) throw suspect('point', 'what the joiner sent is no share');
  const keys = new RunKeys({ attempt: id, shareJoiner, shareHost: share.bytes, secret, password });
  return equalBytes(keys.confirmJoiner, prove.confirm) ? keys : undefined;
};

/** Reads the joiner's hello and answers it. @throws {LoopsyError} `invalid_request` where the joiner is not honest. */
export const greetJoiner = (
  keys: RunKeys,
  prove: Prove,
  { own, random }: { own: OwnMachine; random: RandomBytes },
): readonly [greeting: Greeting, proved: Message] => {
  const helloJoiner = keys.open('box joiner', prove.box);
  if (helloJoiner === undefined) throw suspect('box', 'what the joiner sealed can not be opened');
  const { peer, extras } = readHello('joiner', keys.run, helloJoiner);
  if (peer.machineId === own.machineId) throw suspect('self', 'this is this machine itself');
  const seen = pairingHash('seen', helloJoiner);
  const helloHost = makeHello('host', keys.run, { own, extras: { nonce: random(32), seen } });
  const box = keys.seal('box host', helloHost);
  return [
    { keys, peer, helloJoiner, helloHost, commit: extras.commit },
    { confirm: write(keys.confirmHost), box: write(box) },
  ];
};

/** The number to be compared, where the joiner's nonce is the one that it fixed. @throws {LoopsyError} where not. */
export const openReveal = ({ keys, helloJoiner, helloHost, commit }: Greeting, box: Uint8Array): string => {
  const nonce = keys.open('box reveal', box);
  if (nonce?.length !== 32 || !equalBytes(pairingHash('commit', nonce), commit))
    throw suspect('reveal', 'the joiner did not keep to the number that it had fixed');
  return keys.sas(helloJoiner, helloHost, nonce);
};

/** What both sides' parties begin with. `startedAt`: wall ms since 1970. */
export const factsOf = (
  role: Role,
  { keys, peer }: Pick<Greeting, 'keys' | 'peer'>,
  met: { attempt: Uint8Array; ownId: string; place: Place | undefined; startedAt: number },
): PairingFacts => ({
  role,
  id: keys.run.toString('hex'),
  attempt: write(met.attempt),
  decideKey: keys.decideKey,
  ownId: met.ownId,
  peer,
  ...(met.place === undefined ? {} : { place: met.place }),
  startedAt: met.startedAt,
});
