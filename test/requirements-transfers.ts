/** What is promised of files and transfers: see `requirements.ts`. */
export const TRANSFERS = {
  'transfers.resume-refused':
    'a detached transfer that may not or can not go on is said to have failed, and keeps no node from starting',
  'transfers.swept': 'what a sudden end has left is removed when the node starts',
  'transfers.refused': 'a transfer that the receiver cancels is over for its sender, too',
  'transfers.itself': 'a folder is not copied into itself, and is no mirror of what lies in it',
  'transfers.contents': '--checksum sends what has other contents, and nothing else',
  'transfers.bad-input': 'bad input is refused, each with its own reason; nothing of it stays',
  'transfers.changed': 'a source that changes while it is read is said; the old file at the target stays',
  'transfers.errors.where':
    'an error says on which machine it happened, by the path that was given, and what to do next',
  'transfers.away':
    'a machine that is away is waited for, whichever end it is; after a minute without a word it is the reason of the end',
  'cli.transfer.rate': 'where a machine takes no more for a while, that is said, and waited out; also with stdin',
  'transfers.list.own': 'a list of transfers says nothing of what is not the caller’s',
  'transfers.ends.own': 'what is open for one peer is read, written and closed by that peer alone',
  'transfers.ends.restart': 'a mover that was started anew finds the files free that its earlier start had open',
  'transfers.ends.folders': 'a peer reaches what its grant names, and nothing by links or `..`',
  'cli.send': 'send moves files and folders to a peer as cp -r would; local paths are those of the current folder',
  'cli.pull': 'pull fetches files and folders, patterns of the peer included, to paths of the current folder',
  'cli.cp': 'cp copies between any two machines: peer:path, or a path of this one; a drive of Windows is no peer',
  'cli.ls': 'ls lists a folder of a peer, the home where none is named, with modes where there are such',
  'cli.transfer.paths':
    "a path that says `into it` (`x/`, `.`) still says so to the node; `''` is never the current folder",
  'cli.transfer.options': 'options say what is compared, left behind, removed, and how fast it may go',
  'cli.transfer.progress':
    'one line on a terminal, drawn in its place and cut to its width; elsewhere a line every ten seconds; none if quiet',
  'cli.transfer.summary':
    'one line says what was moved, how fast and where to; a dry run says the same of what it would do',
  'cli.transfer.failures': 'what did not arrive is named, exit 1; what ended the whole is said with its own exit code',
  'cli.transfer.json': 'with --json each event is one line on stdout, and there is nothing else',
  'cli.transfer.interrupt':
    'a signal ends a transfer, leaves the terminal clean and says that the same command goes on',
  'cli.transfer.resume': 'a stream that is cut while the node lives is taken up again',
  'cli.transfer.detach': '--detach prints the id alone; the transfer outlives the command',
  'cli.transfer.stdio':
    '`send <peer> - <dest>` writes stdin as one file, `pull <peer> <src> -` a file to stdout, verified',
  'cli.transfers.list':
    'transfers lists what is moved from, to and through this machine, with the names of who began it',
  'cli.transfers.show': 'transfers show says where, what, how far, and what did not arrive',
  'cli.transfers.attach':
    'transfers attach follows to the end, over a restart of the node too; Ctrl-C leaves it running',
  'bench.transfer-scp-aes': '1 GB to a peer in memory ≥ 1.2 × scp -c aes128-gcm',
  'bench.transfer-scp': '1 GB to a peer in memory ≥ 1.5 × scp',
  'bench.transfer-tls': '1 GB to a peer in memory ≥ 40 % of a raw stream of node:tls',
  'bench.transfer-memory': 'a node grows by ≤ 60 MB with 1 GB',
  'bench.transfer-cli': 'the command that sends 1 GB takes ≤ 120 MB',
  'bench.transfer-many-scp': '10,000 files of 4 KiB ≥ 2 × scp -r',
  'bench.transfer-many-rsync': '10,000 files of 4 KiB within 1.5 × of rsync -a',
  'bench.transfer-again-rsync': 'the second run within 1.5 × of that of rsync',
  'bench.transfer-again': 'the second run, with nothing changed, ≥ 10 × faster than the first',
  'transfers.cuts':
    'a file arrives byte-identical over a connection that is cut often, at most a chunk again for each cut',
  'transfers.kill':
    'kill -9 of either node at any moment: the target is the old file or the complete new one, and the repeated command completes',
  'transfers.round-trip': 'a folder with odd names, links and modes goes to a peer and back unchanged',
  'transfers.interrupt': 'Ctrl-C in the middle and the same command again goes on where it was',
  'transfers.delta': 'of a large file that changed, the changed chunks are sent alone',
  'transfers.between': 'cp from one peer to another goes through this node, and needs no trust between the two',
  'transfers.seen': 'the receiver sees what came from whom',
  'transfers.detached': 'a detached transfer outlives its command, and goes on when its node starts again',
  'transfers.full-disk': 'a full disk is said on both ends; the old file stays, no draft is left, the node goes on',
  'transfers.manifest': 'both ends have the same manifest of any tree, odd names, links and empty folders included',
  'transfers.modes': 'modes and times of files, folders and links are kept, setuid and the like never',
  'transfers.programs':
    'from a system without modes a file keeps those of the old one; else what begins with #! is a program',
  'transfers.guard.property':
    'of 20,000 generated hostile paths none escapes, at source and target: what lies outside stays as it is, and nobody reads it',
  'transfers.links': 'links are kept inside a tree and refused where they lead out; none in a target is ever followed',
  'transfers.links.race': 'a folder that is exchanged for a link between a check and a use leads nobody out',
  'transfers.folder-contents':
    '`x/.` and `.` mean what is in a folder: it goes into the destination itself, however often',
  'transfers.counts':
    'what did not arrive is said once, a folder with the number of files in it; files alone are counted as files',
  'transfers.names': 'a name that can not be there is reported, and none is mangled or takes the place of another',
  'transfers.running-files':
    'below level full nobody writes, links to or removes what programs run by themselves, under any alias',
  'transfers.atomic': 'whatever fails, the old file stays as it was, and no draft is left',
  'transfers.source-changes':
    'a source that changes while it is read is noticed, in a batch, a range, and between two of them',
  'transfers.busy': 'two transfers never write one file; a repeat of the same one takes over',
  'transfers.resume': 'a large file goes on where it was cut off, from its draft or from the old file',
  'transfers.acknowledged':
    'bytes of a large file are acknowledged as they come, and after a cut go on behind the last that came',
  'transfers.plan-order': 'the parts of a tree are planned in their order',
  'transfers.windows': 'what waits to be written is bounded, for each writer and for all',
  'transfers.leftovers': 'what a sudden end left is removed, and nothing else, whatever a journal says',
  'transfers.left-alone': 'what --no-clobber and --update leave alone is left alone to the last moment',
  'transfers.same-place': 'a repeat goes to the same place, until all has arrived',
  'transfers.checksum':
    'what is reported is the checksum of what was written; another one than was announced is refused',
  'transfers.ignored': '--exclude and --gitignore leave out what git would; what is left out is not removed either',
  'transfers.patterns': 'patterns find what a shell would; no pattern keeps a thread busy',
  'transfers.format': 'any bytes that are no batch are refused, cut anywhere, and take no more memory than they have',
  'transfers.sources': 'up to 10,000 sources can be named at once, and rows stay small; more is said in words',
  'transfers.dry-run':
    'a dry run names each thing that would be sent, replaced and removed, and nothing else; it changes nothing',
  'transfers.denied-midway':
    'what the config denies while its bytes flow ends at once, at both ends, and nothing of it is left',
  'transfers.limit': 'no more leaves in any tenth of a second than --limit allows in it, from the first byte on',
  'transfers.delete-kinds':
    'with --delete what became of another kind at the source is replaced, by the rules of removal',
  'transfers.delete-taken':
    'nothing is removed for a source that was taken away, exchanged or changed since it was read, nor for what does not come',
  'transfers.delete-disks':
    'a movement goes on only with the disks that it began with, at either end; one that is mounted in a mirror is left alone',
  'transfers.delete': 'what the source does not have is removed, page by page, and nothing that may not be written',
  'transfers.bounds': 'a folder of 200,000 names is walked, listed and removed in turns, and is never held as a whole',
} as const;
