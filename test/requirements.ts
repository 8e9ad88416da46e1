import { CONTEXT } from './requirements-context.ts';
import { MESSAGES } from './requirements-messages.ts';
import { TRANSFERS } from './requirements-transfers.ts';

/**
 * What loopsy promises, line by line. A test shows that a promise holds by citing its id:
 *
 *     it(verifies('cli.exec.exit-code', 'the remote exit code is returned as it is'), …)
 *
 * `requirements.test.ts` reads the test files and fails where an id is cited by no test, or a test cites none of these.
 */
export const REQUIREMENTS = {
  ...TRANSFERS,
  ...CONTEXT,
  ...MESSAGES,
  // The first five minutes.
  'install.no-scripts': 'the package needs Node ≥ 20, no compiler, no build step and no install script',
  'install.package':
    '`npm install -g --ignore-scripts` of the packed tarball works in an empty prefix and HOME on Node 20, 22 and 24',
  'install.size': 'an installation takes at most 25 MB and 5 packages',
  'install.start': '`npm start` is the first and only command on a fresh clone: two nodes up, commands run, exit 0',
  'install.start-twice':
    'a second `npm start` finds both nodes and does no harm; no service and no agent setting is touched',
  'install.test': '`npm test` is the first and only command on a fresh clone; a filter is passed on',
  'install.by-hand': '`npm ci && npm run build`, then init and start from dist work by hand',
  'install.offer': 'README stands on `npm start` and `npm test`, and names only what is there',

  // The command.
  'cli.json':
    '`--json` prints the output schema of the operation, or one line an event; errors in the REST shape; nothing else',
  'cli.data-dir': '`--data-dir` and LOOPSY_DATA_DIR name the data folder for CLI and node; the option wins',
  'cli.port-env': 'LOOPSY_PORT is the port for `init`, which writes it, and for `start`',
  'cli.api-key-env': "LOOPSY_API_KEY is used instead of the registration's token",
  'cli.registration': 'commands find the running node by its registration, whatever its port',
  'cli.color': '`--no-color` and a closed terminal give plain text',
  'cli.help': '`--help` shows usage and examples for every command, `--version` the one version',
  'cli.peer-names': 'a peer is named by name, nodeId prefix (≥ 4) or address; an ambiguous one lists the matches',
  'peers.own-names': '`localhost`, its own nodeId and host name mean this node on every surface; no peer is called so',
  'cli.names': 'people read local names of peers, never ids: in jobs, keys, grants and the log',
  'store.steady-time': 'nothing lives for ever or dies early when the clock is set, in sleep, or over a restart',
  'attack.no-folder': 'below full, a grant that lists no folder opens no file',
  'attack.login-files': 'below full, nobody writes what shells and logins run',
  'attack.shares': 'what one caller holds open keeps nobody else, the owner least of all, from its own',
  'cli.context.get': 'context get prints the raw value; exit 1 and nothing on stdout where there is none',
  'cli.context.stdin': '`-` reads the value from stdin',
  'cli.context.watch': 'context watch prints how things are, then each change',
  'cli.context.watch-restart': 'context watch goes on over a restart of its own node, without a gap',
  'cli.context.broadcast': 'context broadcast says of each peer whether it has it',
  'cli.context.import': 'context import sets what context export prints',
  'cli.context.import-pace': 'context import waits for the rate of the node as often as it must, once for all',
  'cli.context.import-order': 'context import sets the lines of one key in their order',
  'cli.message.wait-away': 'message wait ends in time, whatever becomes of its node',
  'cli.context.lease-away': 'what waits, for a lease or a rate, waits for its node, and never ends as if it were done',
  'cli.context.lease': 'context lease acquire waits where it is told to',
  'cli.context.lease-fence': 'context lease renew and release can name the hold that they mean',
  'events.follow': 'what happens on a node is followed live, in order, and from a cursor',
  'events.scope': 'nobody hears of what is not theirs to see',
  'events.gap': 'what a slow or absent reader missed is said, never passed over',
  'events.cli': '`loopsy events` tells what happens, with the names of who began it',
  'streams.last-event-id': 'a stream with a cursor goes on behind `Last-Event-ID`',
  'grant.expired-shown': 'a grant that is over is shown as over, to people and as `expired` to programs',
  'cli.addresses': 'host, host:port and [v6]:port are addresses; without a port 19532',
  'cli.unknown': 'unknown commands and options are errors (exit 2) with the nearest match',
  'cli.alone': '`loopsy` alone shows the state in five lines and the next step',
  'cli.exit-codes': '0 ok, 1 failed, 2 usage, 3 not running, 4 not authorised, 5 unreachable, 6 timed out',
  'cli.four-answers': 'not authorised, not running, unreachable and timed out are four different answers',
  'cli.init': 'init writes config, identity and key, and can be run again without harm',
  'cli.up': 'up sets up and starts what is not, says what to do next, and can be run again without harm',
  'cli.selftest':
    'selftest tries commands, bytes, latency, throughput, Ctrl-C, cancel and detached jobs, here or on a peer; exit 1 on a failure',
  'cli.start': 'start returns when the node answers, or fails with the reason; without a config it says what to run',
  'cli.start-foreground': '`start --foreground` stays and ends with the node',
  'cli.start-where': '`--lan` and `--local-only` choose where the node listens',
  'cli.stop': 'stop ends the node and everything it runs',
  'cli.restart': 'restart stops and starts it with the same data',
  'cli.status': 'status shows peers, jobs, version, address and what needs a restart; exit 3 when the node is down',
  'cli.doctor':
    'doctor checks config, node, TLS, detached jobs, each peer (reachable, pin, skew, version, latency) and disk; exit 1 on a failure',
  'cli.connect': 'connect shows both fingerprints, and writes trust after a yes',
  'cli.connect-script': '`connect --fingerprint <hex> --yes` trusts without a question, and only that fingerprint',
  'cli.peers': 'peers lists them; add takes an address and a port; show and rename work by name and by id',
  'cli.peers-remove': 'peers remove ends trust and open connections at once and tells the other side',
  'cli.peers-grant': 'peers grant sets level, folders and expiry; revoke takes all of it away',
  'cli.completion': 'completion makes bash, zsh, fish and PowerShell complete commands, options, peers, keys and runs',
  'cli.uninstall':
    'uninstall names what goes, asks, ends runs and node, and removes what is loopsy’s alone; it follows no link',
  'cli.exec.words': 'our options stand before the peer or right behind it; from the command on every word is its own',
  'cli.exec.options': '--cwd, --env, --timeout (ms, 30s, 5m), -n, --shell and --quiet do what they say',
  'cli.exec.streams': 'stdout and stderr come live and byte-exact, stdin is forwarded and its end closes it',
  'cli.exec.ctrl-c': 'Ctrl-C reaches the remote process group; the second kills it',
  'cli.exec.pipes': 'a closed stdout ends the remote run; with -n a `while read` loop keeps its stdin',
  'cli.exec.exit-code': 'the remote exit code is returned as it is, 128+n for a signal',
  'cli.exec.own-endings': "loopsy's own endings print one line that begins `loopsy:` and return 2–6",
  'cli.exec.many':
    'exec a,b and exec --all run on several peers at once: prefixed lines, one table with the absent, 0 only if all are 0; stdin is refused; with --detach each has a line with its id',
  'cli.exec.defaults': "cwd is the home of the node's user, the environment a named list + execution.env + --env",
  'cli.jobs': 'jobs list, show, attach and kill; an id alone is enough when the job was started from here',
  'cli.exec.detach':
    '`exec --detach` prints the id when the job is on disk; piped text is its stdin, read to its end; there is no time-out but a named one',
  'cli.jobs-wait': '`jobs wait` exits as the job did; of several, with 0 if all did',
  'cli.jobs-attach': '`jobs attach` replays and follows, over a restart of the node too; Ctrl-C leaves the job alone',
  'cli.key': 'key show, generate, add, list and revoke; generate acts at once and no peer notices',
  'cli.key-show': 'key show without a terminal needs --reveal; add prints the new key once; a key is 64 hex digits',
  'cli.logs':
    'logs shows and follows the audit log, filtered by peer, operation, time and refusal; --node the node’s own',
  'cli.version-skew': 'a CLI newer or older than the running node says so in one line',
  'cli.both-tls': 'every command works with tls.enabled true and false',

  // REST.
  'pair.by-code': 'two machines pair by a code and a number; last yes to both online within a second',
  'pair.by-invitation': 'scripts pair by an invitation, with nothing restarted',
  'pair.terminal': 'two people pair at two terminals: what they read leaves no question open',
  'pair.qr': 'an invitation is shown as a QR code too',
  'pair.two-yes': 'searched over the real store: no trust without two yes, none after a no, and it always ends',
  'pair.capture': 'a capture of a whole pairing holds no code, number, key, token or name',
  'pair.page': 'no page in a browser takes part in a pairing',
  'pair.crash': 'a kill behind a yes loses neither the yes nor the pairing',
  'pair.killed':
    'a kill of either node at any step leaves trust on both sides or on none, and a new pairing works at once',
  'pair.unreachable': 'a filtered port, a refused one and a machine without a way there each have a text of their own',
  'pair.crossed': 'two who join each other at the same moment end paired',
  'pair.replaced': 'a new pairing ends the one that is still waited for with the same machine',
  'pair.silence': 'who falls silent, at any step, is told of in time, and nothing is trusted',
  'pair.strange-answers': 'another version, another program and another machine each have a text of their own',
  'pair.crowd': '50 sources that guess at full speed for all of its five minutes keep nobody from pairing by a code',
  'pair.full-disk': 'a yes that finds no room is none, is said to be none, and counts once there is room',
  'rest.bearer': 'everything but health and the pairing steps of strangers needs a key',
  'rest.owner-loopback': "the owner's key and the registration's token count on loopback only",
  'rest.named-key-tls': 'from another machine a program uses a named key over TLS, with that key’s grants',
  'rest.plain-network':
    'plain HTTP from the network gets 426 and one line; with TLS off named keys may, the owner never',
  'rest.peer-field': 'any remote operation takes ?peer=, and the query string is forwarded',
  'rest.error-shape':
    'errors are {error:{code,name,message,hint,details}}; a validation failure is 400 and names the field',
  'rest.openapi': 'GET /openapi.json describes the API in OpenAPI 3.1, from the table',
  'rest.bad-cursor': 'a cursor that no list can have given is answered 400, with the field named',

  'rest.lists': 'lists page by cursor: at most 1,000 items or 4 MiB; runs and audit records newest first',
  'rest.deletes': 'a DELETE answers {success:true} with the id and needs no body, whatever its content type',
  'rest.health': 'GET /health → status ok, nodeId, uptime (ms), version, for anyone',
  'rest.status': "GET /status → the node's facts and counts",
  'rest.identity': 'GET /identity → nodeId, hostname, platform, version, port, capabilities',
  'rest.peers':
    'GET /peers → one row per nodeId, trusted nodes and addresses added by hand; hostname is live, name local',
  'rest.peers-add': 'POST /peers dials, reads the identity and sends nothing else; a trusted one gains the address',
  'rest.peers-delete': 'DELETE /peers/:nodeId ends trust and open connections at once',
  'rest.metrics': 'GET /metrics answers in the text format of Prometheus, with labels of bounded values',
  'rest.handshake': 'POST /peers/handshake counts over a link only, and changes that caller’s own row alone',
  'rest.execute': 'POST /execute answers with output, exit code, endedBy, host, user and cwd; a non-zero exit is 200',
  'rest.execute-stream':
    'POST /execute/stream is SSE with ids, heartbeats and resume, or frames; what is not UTF-8 is base64',
  'rest.execute-jobs': 'GET /execute/jobs, GET and DELETE /execute/:jobId: buffered and streamed runs alike',
  'rest.execute-output':
    'GET /execute/:jobId/output goes on from a cursor, waits for something new, and closes at the end',
  'rest.execute-stdin': 'POST /execute/:jobId/stdin takes a byte stream; its end closes stdin',
  'rest.push-form':
    'POST /transfer/push takes a form, its fields on either side of the file, and nothing of one that is not sound or whole',
  'rest.early-answer': 'an answer that is given before the request has ended is heard by a client that still sends',
  'rest.execute-signal': 'POST /execute/:jobId/signal reaches the process group',

  // Errors.
  'error.1001': 'missing key → 401',
  'error.1002': 'invalid key → 403',
  'error.1003': 'expired key or grant → 401',
  'error.1004': 'scope missing → 403',
  'error.1005': 'revoked → 403',
  'error.1006': 'foreign Host or Origin → 403',
  'error.1007': 'plain HTTP from the network → 426',
  'error.2001': 'peer not found → 404, with the known ones',
  'error.2002': 'peer offline → 503',
  'error.2003': 'peer unreachable → 503',
  'error.2004': 'handshake with the wrong machine → 502',
  'error.2005': 'another version of the link → 409',
  'error.3001': 'command denied → 403',
  'error.3002': 'a time-out is an outcome: 200 with endedBy timeout, killed true, and its name in texts',
  'error.3003': 'too many runs → 429',
  'error.3004': 'a command that cannot start → 422',
  'error.3005': 'a cancel is an outcome: 200 with endedBy cancel',
  'error.3006': 'job not found → 404',
  'error.4001': 'path denied → 403',
  'error.4002': 'file not found → 404',
  'error.4003': 'file too large → 413',
  'error.4004': 'other bytes than were announced → 422',
  'error.9001': 'the unexpected → 500 with a reference that is also in the log',
  'error.9002': 'rate limited → 429 with Retry-After',
  'error.9003': 'invalid request → 400',

  // Config and data.
  'config.strict':
    'an unknown key or a broken file names file, line and fix, with the nearest valid key; never a silent default',
  'config.v1': "a file without version 2 is the predecessor's: start stops and names `init --import`",
  'config.import':
    'init --import takes settings and manual peers over, no key, pin or certificate; TLS is on; the old file is kept',
  'config.comments': "a person's comments survive every change that loopsy makes",
  'config.live': 'changes act at once; server.port, server.host and tls.enabled say `restart needed`',
  'config.two-writers': 'node and CLI share one lock and never overwrite each other’s change',
  'config.server.port': 'server.port: the port, 19532',
  'config.server.host': 'server.host: where it listens; 0.0.0.0 means every address of both families',
  'config.server.hostname':
    'server.hostname: the name in identity, presence, prompts and audit; peers see a change within 3 s',
  'config.auth.apiKey': "auth.apiKey: the owner's key",
  'config.auth.allowedKeys': 'auth.allowedKeys: named keys with level collaborate, honoured at once',
  'config.tls.enabled':
    'tls.enabled: false lets named keys in over plain HTTP from the LAN, and start and doctor say so',
  'config.tls.pinnedCerts':
    'tls.pinnedCerts: trusted with level full at once; a contradiction closes the link and says so',
  'config.execution.env': 'execution.env: joins the environment of every run',
  'config.execution.denylist': 'execution.denylist: refused on every path, without false alarms',
  'config.execution.allowlist': 'execution.allowlist: where given, nothing else runs',
  'config.execution.maxConcurrent': 'execution.maxConcurrent: 10 run at once, the next wait as queued',
  'config.execution.maxQueued': 'execution.maxQueued: 200 wait, then 3003',
  'config.execution.defaultTimeout':
    'execution.defaultTimeout: holds for attached runs that name none; timeout 0 is none',
  'config.rateLimits':
    'rateLimits: a bucket for each peer machine and named key, refilled evenly; the owner on loopback is exempt',
  'config.jobs.maxOutputBytes':
    'jobs.maxOutputBytes: the window on disk; older bytes go with a gap event, a follower gets everything',
  'config.jobs.keepDays': 'jobs.keepDays: ended runs are kept for 7 days',
  'config.audit': 'audit.maxBytes and audit.keep: the log rotates',
  'config.logging': 'logging.level and logging.file: what the node’s own log holds and where',
  'config.schema': 'the schema takes every key of the contract, with its default',
  'data.modes': 'every folder is 0700, every file 0600',
  'data.files': 'loopsy.db, trust.db, jobs/, logs/, daemon.pid, node.lock, node.json and tls/ lie in the data folder',
  'data.audit':
    'one line for every request, refused ones too; repeats of a refused source are counted into one line a second',
  'data.audit-flush': 'audit lines are on disk within 1 s, and before the answer for keys and grants',
  'data.pid': 'daemon.pid is never trusted: the held lock is the truth',

  // Platforms.
  'platform.windows-paths': 'C:\\x, C:/x and /c/x are one path on Windows, guarded after translation',
  'platform.windows-commands': 'on Windows commands are found with PATHEXT, without a shell',
  'platform.windows-shell': '`--shell` is Git Bash’s sh where there is one, else cmd',
  'platform.windows-tree': 'ending a run on Windows ends its tree',
  'platform.in-rows': 'every peer row names its platform',

  // The repository.
  'repo.arrows': 'a forbidden import between rooms fails the build, each arrow tried',
  'repo.daemon-arrows': 'inside the daemon the edge and the features import only what they may',
  'repo.dependencies': 'every outside library is on the list of its room, with a reason',
  'repo.no-cycles': 'there is no import cycle at run time, and no import of a computed name',
  'repo.no-disable': 'no comment switches a rule or a type error off',
  'repo.docs': '`npm run docs` leaves the tree unchanged',
  'repo.one-version': 'package, node and CLI have one version number',
  'repo.pins': 'routes, error codes, scopes, config keys, help and the package’s contents change only on purpose',
  'repo.package': 'the package holds what runs, and nothing that exists only in the repository',
  'repo.bench': '`npm run bench` is green only where every bar was measured and met; it lists those that were not',
  'repo.skips': 'a skipped test prints its reason',

  // Kernel, store, trust.
  'kernel.lifecycle':
    'services start in order and stop in reverse; a failed start rolls back; a hanging stop skips none',
  'kernel.lock': 'the lock outlives no process, and two starts at once make one node',
  'kernel.redaction': 'secrets never reach a log',
  'streams.stalled': 'a reader that takes nothing loses a stream that goes on behind its cursor',
  'store.turn-reads':
    'what one turn reads is of one state; what a commit has done, or was refused for, is read after it',
  'store.expiry-heard': 'what expired while a store was closed is told to who follows it then',
  'store.wall-time': 'a time of the store’s is shown as one time',
  'store.suite': 'the engine and its memory twin pass one suite',
  'store.group-commit': 'commits are grouped off the event loop; what was acknowledged survives kill -9',
  'store.migrations': 'a folder of an older version is migrated, once, and a newer one is refused',
  'store.two-processes': 'a second process sees a change of trust.db within 1 s',
  'store.loader': 'the engine is the built-in one from Node 24, else the vendored one, else a clear error',
  'store.full-disk-deletes': 'a full disk keeps nobody from deleting, however much there is',

  'trust.certificate': 'the certificate is a pure function of the key, pinned byte for byte by a test vector',
  'trust.node-id': 'nodeId is made of the public key, the same at each start',
  'trust.levels': 'grants are decided by default deny; levels, limits and expiry hold, the narrower wins',
  'trust.tokens': 'owner, agent and named keys are three kinds of caller; an agent’s label never comes from a header',
  'trust.owners': 'a caller sees and ends only the jobs that it started; the owner all',
  'trust.admin': 'keys, grants, config, audit and stop are the owner’s, on loopback, and can’t be granted',
  'trust.guards': 'paths and commands are guarded after resolution, and the types make an unguarded use an error',
  'trust.revocation': 'a revocation ends streams, sockets and jobs of that peer and of no other',

  // Edge.
  'edge.one-port': 'the first byte decides between TLS and plain HTTP, on one port',
  'edge.loopback':
    'loopback needs both ends of the socket, a Host and an Origin of this node; [::1] and mapped forms too',
  'edge.no-cors': 'no CORS header is sent, no page may frame ours',
  'edge.proof': 'the node proves that it holds the token before a client sends it',
  'edge.caller': 'the caller is decided from the connection; a certificate and a token on one connection is an error',
  'edge.strangers': 'strangers hold at most 8 connections, 256 in all, and 50 new handshakes a second',
  'edge.time-outs': 'half a hello, half a head, half a body and silence after TLS are cut in time',
  'edge.close': 'close with idle connections takes ≤ 100 ms',
  'edge.bodies': 'a body is read only after the caller is decided, and within the operation’s limit',
  'edge.one-way': 'every operation passes caller, scope, rate, validation, grants and audit, once',
  'edge.matrix':
    'the generated authorisation matrix: every wrong caller of every operation is refused with its own code',
  'edge.exchange': 'an answer may come while the body does, and what ends early leaves no connection behind',
  'edge.bytes':
    'bytes leave no faster than they are taken; what cuts them cuts the connection, so that no part passes for the whole',
  'audit.steps':
    'the steps of a transfer, allowed or refused, push nothing out of the audit log: what is too much is counted',
  'edge.rate': 'rate limits are enforced; one run counts once, reading its output never',

  // Peers and link.
  'link.pinned': 'the wrong machine at the right address never receives a request',
  'link.cipher': 'a link is TLS 1.3, with the cipher that is fastest for many bytes where both sides have it',
  'link.pool': 'a long stream never delays a request on the same link',
  'link.presence': 'offline within 10 s of a lost peer, online within 3 s of its return, without starting processes',
  'link.forward':
    'any remote operation is forwarded: buffered, streamed and byte bodies; no header or token of the caller leaves',
  'link.bytes':
    'bytes pass through a node as they are, no faster than they are taken; a cut on either side is a cut on the other',
  'link.no-lending':
    '`peer` in a request that came over a link is an error, and an outbound operation is refused there',
  'link.twice': 'forwarding is authorised here by scope and reach, and there again by grant',
  'link.once': 'an effect happens once; where no answer can be had the outcome is unknown, never failed',
  'link.registry': 'the registry is keyed by nodeId: no duplicates, no ghosts, known addresses are remembered',
  'link.farewell': 'peers remove tells the other side',
  'transfer.reach':
    'files move from or to a peer only for a caller who may address that peer, decided anew when that ends',

  // Jobs.
  'jobs.tree': 'time-out, cancel, client gone and shutdown end the whole process tree',
  'jobs.stdin': 'stdin is given, streamed or closed, never left open',
  'jobs.bytes': 'output is exact from end to end: binary in frames, UTF-8 never split in text',
  'jobs.window': 'output is kept in a bounded window on disk, with cursors, and says what went',
  'jobs.back-pressure': 'a slow reader slows the process, not the node',
  'jobs.truth': 'exit code or signal is always true, and endedBy names the first cause',
  'jobs.environment': 'the environment is built from a list: no LOOPSY_*, NODE_OPTIONS, token or agent socket',
  'jobs.where': 'every result carries node, host, user and cwd',

  // Wrong input and faults.
  'fault.port-taken': 'a taken port fails the start with the name of its holder, exit 1; another user’s node is named',
  'fault.config': 'a broken or unknown config names file:line and the nearest valid key',
  'fault.unknown-peer': 'an unknown peer is answered with the known ones',
  'fault.fingerprint': 'a wrong fingerprint shows both, and nothing is sent',
  'fault.exec': 'not found, cwd missing, denied and over the limit have error numbers of their own',
  'fault.big-output': '700 MB of output reach a follower whole; the window stays bounded, RSS growth ≤ 50 MB',
  'fault.two-starts': 'two starts at once make one node',
  'fault.kill': 'after kill -9 the next start is clean, peers and keys intact',
  'fault.root': 'root is told at init and in doctor, not refused',
  'fault.foreign-folder':
    'a data folder, or a file in it, of another user is named with its owner and the way on; root runs no node in it',

  // Jobs that outlive everything.
  'jobs.detached':
    'a detached job outlives the client, and the stop, crash and restart of the node, with output and exit code',
  'jobs.detached-durable': 'it is on disk here, and who started it on a peer there, before its id is answered',
  'jobs.detached-queue': 'a detached job that must wait is let in after a restart too; maxConcurrent counts it',
  'jobs.detached-upgrade': 'a job that began before an upgrade of the package ends well after it',
  'jobs.detached-lost': 'when its supervisor is killed a job is lost, its processes end, and the node goes on',
  'jobs.detached-owners':
    'who did not start a detached job can neither see nor end it; whoever lost trust has none that goes on',
  'jobs.detached-secret': 'nothing is heard of a connection to a supervisor that does not prove its secret',
  'jobs.detached-environment': "nothing of the node's or supervisor's own environment reaches a detached job",
  'jobs.detached-disk': 'a full disk refuses a detached job with a clear error and leaves no process',

  // Figures.
  'bench.exec-local': '`true` through the node ≤ 1.6 × a bare spawn',
  'bench.exec-peer': '`true` on a peer ≤ 2.2 × a bare spawn',
  'bench.exec-beside-stream': '`true` beside a running 1 GB stream: p95 ≤ 25 ms',
  'bench.cli-exec': '`loopsy exec <peer> -- true` ≤ 0.4 × a new ssh, ≤ 2 × `node -e 0`',
  'bench.cli-stream': '`exec <peer> -- head -c 1G /dev/zero` ≥ 0.5 × ssh, RSS growth ≤ 50 MB',
  'bench.cli-status': '`loopsy status` ≤ 1.6 × `node -e 0`',
  'bench.ready': 'node ready ≤ 5 × `node -e 0`',
  'bench.idle': 'idle after 60 s ≤ 75 MB RSS',
  'bench.hundred-jobs': '100 jobs at once with 1 MB each: complete, byte-exact, RSS growth ≤ 50 MB',
  'show.stream-cuts': 'a stream cut 200 times and resumed by cursor is byte-identical',
  'show.answer-cuts': 'a request whose answer is cut 1,000 times runs its command once',
  'show.revocation': 'revocation ends 100 streams, sockets and jobs of a peer within 1 s and touches no other',
  'show.detached':
    '50 detached jobs: kill -9 of the node at 20 random moments loses no byte of output, no exit code, leaves no process',
  'show.exec-all':
    'exec --all over 8 nodes takes ≤ 1.5 × the slowest alone; one that hangs or dies is named and holds nothing up',
  'show.e2e': 'the core from end to end through the CLI, with tls.enabled true and false',
} as const;

/** The id of a promise. */
export type RequirementId = keyof typeof REQUIREMENTS;

/** Marks a test as the one that shows a promise, or several; returns its title. */
export const verifies = (ids: RequirementId | readonly RequirementId[], title: string): string =>
  `${title} [${[ids].flat().join(', ')}]`;
