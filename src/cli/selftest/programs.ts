import type { ExecuteInput } from '../../protocol/jobs.ts';

/** What the self-test runs on a node: programs that every system of its kind has. */
interface Programs {
  /** Ends at once. */
  readonly nothing: ExecuteInput;
  /** Writes what it reads. */
  readonly echo: ExecuteInput;
  /** Waits until it is ended. */
  readonly wait: ExecuteInput;
  /** Prints the id of a process that it has started, and waits with it. */
  readonly family: ExecuteInput;
  /** Writes so many zero bytes. */
  readonly zeros: (bytes: number) => ExecuteInput;
  /** Prints `gone` when that process has ended, or `alive` after two seconds. */
  readonly look: (pid: number) => ExecuteInput;
  /** Removes a folder below the home; the name must stand for itself in every shell. */
  readonly remove: (folder: string) => ExecuteInput;
}

// A killed process that nobody fetches, as in some containers, is gone all the same.
const LOOK = (pid: number): string => `i=0
while [ $i -lt 20 ]; do
if ! kill -0 ${pid} 2>/dev/null || grep -q ') Z' /proc/${pid}/stat 2>/dev/null; then echo gone; exit; fi
sleep 0.1; i=$((i+1))
done
echo alive`;

const POSIX: Programs = {
  nothing: { command: 'true' },
  echo: { command: 'cat' },
  wait: { command: 'sleep', args: ['300'] },
  family: { command: 'sleep 300 & echo $!; wait', shell: true },
  zeros: (bytes) => ({ command: 'head', args: ['-c', String(bytes), '/dev/zero'] }),
  look: (pid) => ({ command: LOOK(pid), shell: true }),
  // `rm` is on the denylist that every node begins with.
  remove: (folder) => ({ command: 'find', args: [folder, '-delete'] }),
};

const node = (script: string): ExecuteInput => ({ command: 'node', args: ['-e', script] });
const WAIT = 'setTimeout(() => {}, 300000)';

/** Windows has no program that passes bytes on as they are; where loopsy is, Node is. */
const WINDOWS: Programs = {
  nothing: { command: 'cmd', args: ['/c', 'exit'] },
  echo: node('process.stdin.pipe(process.stdout)'),
  wait: node(WAIT),
  family: node(
    `const { pid } = require('child_process').spawn(process.execPath, ['-e', '${WAIT}'], { stdio: 'ignore' }); console.log(pid); ${WAIT}`,
  ),
  zeros: (bytes) =>
    node(
      `const b = Buffer.alloc(65536); let n = ${bytes}; const w = () => { while (n > 0) { n -= b.length; if (!process.stdout.write(n < 0 ? b.subarray(-n) : b)) return process.stdout.once('drain', w); } }; w();`,
    ),
  look: (pid) =>
    node(
      `let i = 0; const look = () => { try { process.kill(${pid}, 0); } catch { return console.log('gone'); } i += 1; if (i > 20) return console.log('alive'); setTimeout(look, 100); }; look();`,
    ),
  remove: (folder) => node(`require('fs').rmSync('${folder}', { recursive: true, force: true });`),
};

/** The programs of a system. */
export const programsOf = (platform: string): Programs => (platform === 'win32' ? WINDOWS : POSIX);
