import type { OutputOf, InputOf } from '../../../src/protocol/operations.ts';
import type { PairRole } from '../../../src/protocol/pairing.ts';
import type { InProcessNode } from '../../helpers/in-process-node.ts';

type Status = OutputOf<'pair.status'>;

/** One request of a node's owner; what it answers, good or not. */
const post = async (node: InProcessNode, path: string, body: unknown) => {
  const answer = await node.ask({ method: 'POST', path, key: node.tokens.start, body });
  return { ...answer, json: JSON.parse(answer.text) as unknown };
};

/** The person at a node. */
export class Person {
  readonly node: InProcessNode;
  readonly role: PairRole;

  constructor(node: InProcessNode, role: PairRole) {
    this.node = node;
    this.role = role;
  }

  async start(input: InputOf<'pair.start'> = {}): Promise<string> {
    const { inviteCode } = await this.node.owner<OutputOf<'pair.start'>>('POST', '/pair/start', input);
    return inviteCode;
  }

  /** Enters a code. @returns the error's name, or `allowed`. */
  async join(code: string, port: number, more: Partial<InputOf<'pair.join'>> = {}): Promise<string> {
    const { outcome } = await post(this.node, '/pair/join', { address: '127.0.0.1', port, code, ...more });
    return outcome;
  }

  async confirm(input: Partial<InputOf<'pair.confirm'>> = {}): Promise<{ outcome: string; json: unknown }> {
    return post(this.node, '/pair/confirm', { confirmed: true, role: this.role, ...input });
  }

  async look(more = ''): Promise<Status> {
    return this.node.owner<Status>('GET', `/pair/status?role=${this.role}${more}`);
  }

  /** Waits for a state, by the long poll that commands use. */
  async until(isThere: (status: Status) => boolean, limitMs = 10_000): Promise<Status> {
    const endsAt = performance.now() + limitMs;
    let status = await this.look();
    while (!isThere(status)) {
      if (performance.now() > endsAt) throw new Error(`it stays at ${JSON.stringify(status)}`);
      status = await this.look(`&wait=500&since=${status.revision}`);
    }
    return status;
  }

  reaches(state: Status['state']): Promise<Status> {
    return this.until((status) => status.state === state);
  }

  async peers(): Promise<OutputOf<'peer.list'>['peers']> {
    return (await this.node.owner<OutputOf<'peer.list'>>('GET', '/peers')).peers;
  }
}

/** Another code of the same length. */
export const otherCode = (code: string): string => `${code.startsWith('1') ? '2' : '1'}${code.slice(1)}`;
