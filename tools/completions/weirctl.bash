# bash completion for weirctl. Commands and options are asked of the program
# itself, so that this never falls behind.
_weirctl()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]} words

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		words=$("$program" --commands 2>/dev/null)
		mapfile -t COMPREPLY < <(compgen -W "$words --help --version" \
			-- "$cur")
		return
	fi
	case $prev in
	--data)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--piece-length)
		words='16k 32k 64k 128k 256k 512k 1M 2M 4M 8M 16M'
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
		;;
	--port | --bind | --announce | --kenosis | --webseed | --node | --domain | \
		--comment | --source | --name | --threads)
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		words=$("$program" "$command" --help 2>/dev/null |
			grep -oE -- '--[a-z][a-z0-9-]*' | sort -u)
		mapfile -t COMPREPLY < <(compgen -W "$words --help" -- "$cur")
		return
	fi
	compopt -o filenames
	if [[ $command == make ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -d -- "$cur"
			compgen -f -X '!*.torrent' -- "$cur")
	fi
}
complete -F _weirctl weirctl
