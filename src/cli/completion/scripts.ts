/**
 * Completion scripts. The words are fixed when a script is printed; names of objects are asked of the cluster when they
 * are completed, and there are none if it does not answer.
 */
import { type CompletedCommand, type CompletedOption, KINDS, SHELLS, type Shell } from './words.ts';

/** A command of the shell that prints the names of the objects of a kind. */
const names = (kind: string) => `dataplane get ${kind} -o name 2>/dev/null | sed 's,.*/,,'`;

export function completionScript(shell: Shell, commands: readonly CompletedCommand[]): string {
  const print = { bash, zsh, fish }[shell];
  return print(commands);
}

const spellings = ({ name, short }: CompletedOption): string[] => (short === undefined ? [name] : [name, short]);

/** Options after which a value follows. */
const valuedOf = ({ options }: CompletedCommand): string[] =>
  options.filter(({ value }) => value !== undefined).flatMap(spellings);

/** Case pattern of the options with a value of one kind: `--file|-f`. */
const pattern = ({ options }: CompletedCommand, value: CompletedOption['value']): string =>
  options
    .filter((option) => option.value === value)
    .flatMap(spellings)
    .join('|');

function bash(commands: readonly CompletedCommand[]): string {
  const arms = commands.map((command) => {
    const values = (['namespace', 'other'] as const).flatMap((value) => {
      const of = pattern(command, value);
      return of === ''
        ? []
        : `        ${of}) ${value === 'namespace' ? `_dataplane_words "$(${names('namespaces')})"` : ':'}; return ;;\n`;
    });
    const files = pattern(command, 'file');
    const withFiles = files === '' ? [] : [`        ${files}) compopt -o default; return ;;\n`];
    const options = command.options.flatMap(spellings).join(' ');
    return `    ${command.name})
      case $previous in
${[...values, ...withFiles].join('')}      esac
      case $current in
        -*) _dataplane_words '${options}' ;;
        *) ${operandOfBash(command)} ;;
      esac ;;
`;
  });
  return `# bash completion for dataplane: source it, or put it into /etc/bash_completion.d/dataplane
_dataplane_words() {
  local IFS=$' \\t\\n'
  COMPREPLY=($(compgen -W "$1" -- "$current"))
}
_dataplane() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} word before='' kind='' valued=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    _dataplane_words '${commands.map(({ name }) => name).join(' ')} --help --version'
    return
  fi
  case \${COMP_WORDS[1]} in
${commands.map((command) => `    ${command.name}) valued=' ${valuedOf(command).join(' ')} ' ;;\n`).join('')}  esac
  for word in "\${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
    case $valued in *" $before "*) before=''; continue ;; esac
    before=$word
    case $word in -*) ;; *) kind=\${kind:-$word} ;; esac
  done
  case \${COMP_WORDS[1]} in
${arms.join('')}  esac
}
complete -F _dataplane dataplane
`;
}

function operandOfBash({ operand }: CompletedCommand): string {
  switch (operand) {
    case 'kinds-and-names':
      return `if [ -z "$kind" ]; then _dataplane_words '${KINDS.join(' ')}'; else _dataplane_words "$(${names('"$kind"')})"; fi`;
    case 'pods':
      return `if [ -z "$kind" ]; then _dataplane_words "$(${names('pods')})"; else compopt -o default; fi`;
    case 'shells':
      return `_dataplane_words '${SHELLS.join(' ')}'`;
    case 'files':
      return 'compopt -o default';
    case 'nothing':
      return ':';
  }
}

/** In single quotes, as zsh and fish read them. */
const quoted = (text: string): string => `'${text.replace(/'/g, "'\\''")}'`;

function zsh(commands: readonly CompletedCommand[]): string {
  const list = commands.map(({ name, about }) => `    ${quoted(`${name}:${about}`)}`).join('\n');
  const arms = commands.map((command) => {
    const specs = [...command.options.flatMap(specsOfZsh), ...operandOfZsh(command)];
    return `    ${command.name}) _arguments ${specs.map(quoted).join(' ')} ;;\n`;
  });
  return `#compdef dataplane
# zsh completion for dataplane: put it into a directory of $fpath as _dataplane
_dataplane_names() {
  local -a found
  found=(\${(f)"$(dataplane get "$1" -o name 2>/dev/null)"})
  compadd -- \${found##*/}
}
_dataplane_kinds_and_names() {
  if (( CURRENT == 1 )); then compadd -- ${KINDS.join(' ')}; else _dataplane_names \${words[1]}; fi
}
_dataplane() {
  local -a commands
  commands=(
${list}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case \${words[1]} in
${arms.join('')}  esac
}
if [ "\${funcstack[1]}" = _dataplane ]; then _dataplane "$@"; else compdef _dataplane dataplane; fi
`;
}

/** `--nodes[help]:value:action`; what has a meaning there is escaped. */
function specsOfZsh(option: CompletedOption): string[] {
  const help = option.help.split('\n')[0]!.replace(/[[\]:\\]/g, '\\$&');
  const actions = { file: ':file:_files', namespace: ':namespace:_dataplane_names namespaces', other: ':value:' };
  const action = option.value === undefined ? '' : actions[option.value];
  return spellings(option).map((spelling) => `${spelling}[${help}]${action}`);
}

function operandOfZsh({ operand }: CompletedCommand): string[] {
  switch (operand) {
    case 'kinds-and-names':
      return ['*::object:_dataplane_kinds_and_names'];
    case 'pods':
      return ['1:pod:_dataplane_names pods', '*::command:_normal'];
    case 'shells':
      return [`1:shell:(${SHELLS.join(' ')})`];
    case 'files':
      return ['*::command:_normal'];
    case 'nothing':
      return [];
  }
}

function fish(commands: readonly CompletedCommand[]): string {
  const lines = commands.flatMap((command) => {
    const here = `complete -c dataplane -n '__fish_seen_subcommand_from ${command.name}'`;
    return [
      `complete -c dataplane -n __fish_use_subcommand -a ${command.name} -d ${quoted(command.about)}`,
      ...command.options.map((option) => {
        const short = option.short === undefined ? '' : ` -s ${option.short.slice(1)}`;
        const values = { file: ' -r -F', namespace: ` -x -a ${quoted(`(${names('namespaces')})`)}`, other: ' -x' };
        const value = option.value === undefined ? '' : values[option.value];
        return `${here} -l ${option.name.slice(2)}${short}${value} -d ${quoted(option.help.split('\n')[0]!)}`;
      }),
      ...operandOfFish(command).map((words) => `${here} ${words}`),
    ];
  });
  return `# fish completion for dataplane: put it into ~/.config/fish/completions/dataplane.fish
function __dataplane_operands
    set -l before ''
    for word in (commandline -opc)[3..-1]
        if contains -- $before ${[...new Set(commands.filter(({ operand }) => operand === 'kinds-and-names').flatMap(valuedOf))].join(' ')}
            set before ''
            continue
        end
        set before $word
        string match --invert -- '-*' $word
    end
end
function __dataplane_objects
    set -l operands (__dataplane_operands)
    if test (count $operands) -eq 0
        printf '%s\\n' ${KINDS.join(' ')}
    else
        ${names('$operands[1]')}
    end
end
complete -c dataplane -f
${lines.join('\n')}
`;
}

function operandOfFish({ operand }: CompletedCommand): string[] {
  switch (operand) {
    case 'kinds-and-names':
      return ["-a '(__dataplane_objects)'"];
    case 'pods':
      return [`-a ${quoted(`(${names('pods')})`)}`];
    case 'shells':
      return [`-a '${SHELLS.join(' ')}'`];
    case 'files':
      return ['-F'];
    case 'nothing':
      return [];
  }
}
