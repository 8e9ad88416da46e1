/** The shells that are known. */
export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;

/** One of them. */
export type Shell = (typeof SHELLS)[number];

/** Stands alone where the shell itself shall offer files. */
export const FILES_MARK = ':files';

/** Behind the word that is typed, on PowerShell: its older versions drop an empty word. */
export const WORD_END = '.';

// Works on the bash 3.2 of macOS too, which has no compopt.
const BASH = `_loopsy_completion() {
  local IFS=$'\\n'
  COMPREPLY=($(loopsy completion bash -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  if [ "\${COMPREPLY[*]}" = '${FILES_MARK}' ]; then
    COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
    compopt -o filenames 2>/dev/null
  fi
}
complete -F _loopsy_completion loopsy
`;

const ZSH = `#compdef loopsy
_loopsy() {
  local -a lines items
  local line
  lines=("\${(@f)$(loopsy completion zsh -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "$lines" == '${FILES_MARK}' ]]; then
    _files
    return
  fi
  for line in $lines; do items+=("\${line/$'\\t'/:}"); done
  (( \${#items} )) && _describe 'loopsy' items
}
if [ "$funcstack[1]" = '_loopsy' ]; then _loopsy "$@"; else compdef _loopsy loopsy; fi
`;

const FISH = `function __loopsy_completion
  set -l words (commandline -opc)
  set -e words[1]
  set -l current (commandline -ct)
  set -l lines (loopsy completion fish -- $words "$current" 2>/dev/null)
  if test "$lines" = '${FILES_MARK}'
    __fish_complete_path "$current"
  else
    string join \\n -- $lines
  end
end
complete -c loopsy -f -a '(__loopsy_completion)'
`;

const POWERSHELL = `Register-ArgumentCompleter -Native -CommandName loopsy -ScriptBlock {
  param($word, $ast, $cursor)
  $words = @($ast.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { $_.ToString() })
  $words += "$word${WORD_END}"
  $lines = @(loopsy completion powershell '--' @words 2>$null)
  if ($lines -contains '${FILES_MARK}') { return }
  foreach ($line in $lines) {
    $value, $text = $line -split "\`t", 2
    if (-not $text) { $text = $value }
    [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $text)
  }
}
`;

/** What a shell reads once, so that it asks `loopsy` what may come next. */
export const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH, powershell: POWERSHELL };
