import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';

import { afterEach, describe, expect, it } from 'vitest';

import type { Identity } from '../../../src/trust/identity.ts';
import { tokenOf } from '../../../src/trust/pairing-crypto.ts';
import { type Shown, shownBy } from '../../helpers/ask.ts';
import { type InProcessNode, startNode } from '../../helpers/in-process-node.ts';
import { verifies } from '../../requirements.ts';
import { Person } from './two-nodes.ts';

const nodes: InProcessNode[] = [];

const person = async (name: string, role: 'host' | 'joiner'): Promise<Person> => {
  const node = await startNode({ name, lan: true });
  nodes.push(node);
  return new Person(node, role);
};

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((one) => one.remove()));
});

/** A secret in every form in which it could travel. */
const formsOf = (secret: string | Buffer): Buffer[] => {
  const bytes = Buffer.from(secret);
  const texts = [bytes.toString('hex'), bytes.toString('base64').replace(/=+$/, ''), bytes.toString('base64url')];
  return [
    bytes,
    ...texts.map((text) => Buffer.from(text)),
    Buffer.from(JSON.stringify(bytes.toString('utf8')).slice(1, -1)),
  ];
};

const holds = (captured: Buffer, secret: string | Buffer): boolean =>
  formsOf(secret).some((form) => captured.includes(form));

/** The private key itself: the last bytes of its DER are the public one. */
const scalarOf = ({ privateKey }: Identity): Buffer =>
  Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');

/** The key of the yes, no and trusts of a pairing that waits, as it lies on disk. */
const decideKeyOf = async ({ paths }: InProcessNode): Promise<Buffer> => {
  const files = [paths.trustDatabase, `${paths.trustDatabase}-wal`];
  const text = Buffer.concat(await Promise.all(files.map((file) => readFile(file)))).toString('latin1');
  const key = Buffer.from(/"decideKey":"([\w-]{43})"/.exec(text)?.[1] ?? '', 'base64url');
  if (key.length !== 32) throw new Error('no pairing waits');
  return key;
};

const asMachine = ({ privateKey, machineCertificate }: Identity) => ({
  key: privateKey,
  certificate: machineCertificate,
});

const STEP = 'POST /api/v1/pair/';

/**
 * Keeps every byte between two machines: as one does who sits on the wire, or, with the host's own TLS key, as one who
 * reads the steps inside of TLS.
 */
const wiretap = async ({ port, inside }: { port: number; inside?: Shown }) => {
  const captured: Buffer[] = [];
  const take = (client: Socket): void => {
    const to = { port, host: '127.0.0.1' };
    const target = inside === undefined ? connect(to) : connectTls({ ...to, rejectUnauthorized: false });
    // What follows the pairing, between two who trust each other, is not part of it.
    let isWanted = inside === undefined;
    client.once('data', (head: Buffer) => {
      isWanted ||= head.includes(STEP);
      if (!isWanted) client.destroy();
    });
    for (const [from, other] of [
      [client, target],
      [target, client],
    ] as const) {
      from.on('data', (chunk: Buffer) => isWanted && captured.push(chunk)).on('error', () => other.destroy());
      from.pipe(other);
    }
  };
  const server = inside === undefined ? createServer(take) : createTlsServer(inside, take);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return { port: address.port, bytes: () => Buffer.concat(captured), close: () => server.close() };
};

/** Says all of it to whoever listens at that port, in every form. */
const blurt = async (secrets: readonly (string | Buffer)[], port: number): Promise<void> => {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  const body = Buffer.concat(secrets.flatMap(formsOf));
  socket.write(`POST /api/v1/pair/initiate HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`);
  socket.end(body).resume();
  await once(socket, 'close');
};

describe('a capture of a whole pairing', () => {
  it(
    verifies(
      'pair.capture',
      'holds no code, no number, no key, no token and no name; the same search finds them where they leak',
    ),
    async () => {
      const [host, joiner] = [await person('maria', 'host'), await person('kai', 'joiner')];
      const wire = await wiretap({ port: host.node.port });
      const inside = await wiretap({ port: wire.port, inside: shownBy(asMachine(host.node.identity)) });
      const code = await host.start();
      await joiner.join(code, inside.port);
      const { sas = '' } = await joiner.reaches('confirm');
      await host.reaches('confirm');
      await host.confirm();
      const decideKey = await decideKeyOf(host.node);
      await joiner.confirm();
      await Promise.all([host.reaches('completed'), joiner.reaches('completed')]);
      const captures = [wire.bytes(), inside.bytes()] as const;
      for (const step of ['initiate', 'prove', 'reveal', 'settle'])
        expect(captures[1].includes(`${STEP}${step} `), step).toBe(true);
      const keys = nodes.flatMap(({ identity, tokens }) => [scalarOf(identity), ...Object.values(tokens)]);
      const secrets = [code, sas, 'maria', decideKey, ...keys];
      const yes = (['joiner', 'host'] as const).map((role) => tokenOf(decideKey, role, 'yes'));
      // Six digits turn up by chance in so many bytes: 1 in 10^8 for each place.
      for (const capture of captures)
        for (const secret of secrets) expect(holds(capture, secret), String(secret)).toBe(false);
      // What the two say to each other is read inside of TLS alone.
      for (const word of yes) expect(captures.map((capture) => holds(capture, word))).toEqual([false, true]);
      await blurt(secrets, inside.port);
      const leaking = inside.bytes();
      for (const secret of secrets)
        for (const form of formsOf(secret)) expect(leaking.includes(form), String(secret)).toBe(true);
      wire.close();
      inside.close();
    },
  );
});
